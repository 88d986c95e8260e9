"""The sender of alerts: of the processes that share a store one makes alerts of new findings and sends them.

It runs on a thread of its own, which starts with the first commit, so the caller never waits for it. A message is sent
at least once: it is marked after the target has taken it, and a process that is killed in between leaves it to the next
one, which sends it with the same id.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final

from cylestio_monitor.errors import StoreError
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.alerts import alert_table, targets
from cylestio_monitor.store.audit.chain import Chain
from cylestio_monitor.store.delivery import transport
from cylestio_monitor.store.ingest.row_writer import RecordWriter
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite import database, fork_guard, keys
from cylestio_monitor.store.sqlite.counters import count
from cylestio_monitor.store.sqlite.lease import Lease
from cylestio_monitor.store.sqlite.rows import Event, event_record

if TYPE_CHECKING:
    from pathlib import Path

    from cylestio_monitor import config
    from cylestio_monitor.store.alerts.alert_table import AlertMessage, AlertState
    from cylestio_monitor.store.store import Store

_logger = logging.getLogger(__name__)

_POLL_S: Final = 5.0
_GATHER_S: Final = 0.5
_FIRST_WAIT_S: Final = 10
_SETTLE_ATTEMPTS: Final = 5
_MOST_WAIT_S: Final = 3600
_SECOND_NS: Final = 1_000_000_000
_TRIES_AGAIN: Final = "; Cylestio tries again"


class AlertRound:
    """One process's part in the alerts of a store: takes the lease, reads findings, sends, records."""

    def __init__(self, path: Path, store_settings: config.StoreSettings, settings: config.AlertSettings) -> None:
        """Opens nothing yet.

        Args:
            path: The database.
            store_settings: Its budget.
            settings: Conditions and targets.
        """
        self._path = path
        self._store_settings = store_settings
        self._settings = settings
        self._targets = {one.name: one for one in settings.targets}
        self._lease = Lease("alerts")
        self._begun_ns = time.time_ns()
        self._troubled: set[str] = set()

    def run(self, *, is_last: bool = False, deadline: float | None = None) -> tuple[int, int]:
        """Makes alerts of the findings that were not read yet, and sends what is due.

        Args:
            is_last: Whether messages that still gather findings are sent too.
            deadline: Monotonic time at which no further message is begun.

        Returns:
            The numbers of messages that were sent and that were not.

        Raises:
            StoreError: The store cannot be read or written.
            sqlite3.Error: As above.
        """
        sent = failed = 0
        with queries.connect(self._path) as connection:
            if not alert_table.has_work(connection, time.time_ns(), is_last=is_last):
                return 0, 0
            if not self._lease.may_take(connection):
                return 0, 0
        has_more = True
        while has_more:
            has_more, due = self._take(is_last=is_last)
            refusals: dict[str, targets.DeliveryError] = {}
            for message in due:
                if deadline is not None and time.monotonic() >= deadline:
                    return sent, failed
                is_sent = self._send(message, refusals, deadline)
                sent, failed = sent + is_sent, failed + (not is_sent)
        return sent, failed

    def next_due_ns(self) -> int | None:
        """Returns the time at which the next message is due, nanoseconds since the epoch; `None` where none waits."""
        with queries.connect(self._path) as connection:
            return alert_table.next_due_ns(connection)

    def leave(self) -> None:
        """Gives up the lease, so that another process can take it at once."""
        with database.writable(self._path, self._store_settings) as connection, database.transaction(connection):
            self._lease.give_up(connection)

    def _take(self, *, is_last: bool) -> tuple[bool, list[AlertMessage]]:
        now_ns = time.time_ns()
        with database.writable(self._path, self._store_settings) as connection, database.transaction(connection):
            if not self._lease.take(connection):
                return False, []
            has_more = alert_table.evaluate(connection, self._settings, self._begun_ns, now_ns)
            due = alert_table.take_due(connection, self._settings, now_ns, is_last=is_last and not has_more)
        return has_more or bool(due), due

    def _send(self, message: AlertMessage, refusals: dict[str, targets.DeliveryError], deadline: float | None) -> bool:
        """Sends a message, unless its target has just refused another one; returns whether it was taken."""
        target = self._targets.get(message.target)
        error = refusals.get(message.target)
        if target is None:
            error = targets.DeliveryError("the settings have no such target", is_final=True)
        elif error is None:
            left = targets.TIMEOUT_S if deadline is None else min(targets.TIMEOUT_S, deadline - time.monotonic())
            try:
                targets.send(target, message, timeout_s=max(0.1, left))
            except targets.DeliveryError as raised:
                error = refusals[message.target] = raised
            except Exception as raised:  # noqa: BLE001 -- whatever a service's library raises: the others shall be sent
                error = refusals[message.target] = targets.DeliveryError(f"it failed with {type(raised).__name__}")
        self._report(message.target, error)
        self._settle(message, error)
        return error is None

    def _settle(self, message: AlertMessage, error: targets.DeliveryError | None) -> None:
        now_ns = time.time_ns()
        wait_s = min(_FIRST_WAIT_S * 2 ** min(message.attempts - 1, 10), _MOST_WAIT_S)
        state: AlertState = "sent"
        if error is not None:
            wait_s = max(wait_s, int(error.wait_s or 0))
            is_over = now_ns - message.created_ns > self._settings.retry_hours * 3600 * _SECOND_NS
            state = "failed" if error.is_final or is_over else "waiting"
        reason = "" if error is None else str(error)
        again_ns = now_ns + wait_s * _SECOND_NS
        for attempt in range(_SETTLE_ATTEMPTS):  # one that is not recorded is sent once more
            try:
                self._record(message, state, now_ns, reason, again_ns)
            except StoreError:
                if attempt == _SETTLE_ATTEMPTS - 1:
                    raise
            else:
                return

    def _record(self, message: AlertMessage, state: AlertState, now_ns: int, reason: str, again_ns: int) -> None:
        with database.writable(self._path, self._store_settings) as connection, database.transaction(connection):
            self._lease.take(connection)
            is_ours = alert_table.settle(connection, message, state, now_ns, error=reason, again_ns=again_ns)
            if is_ours and state != "waiting":
                self._audit(connection, message, state, reason)

    def _audit(self, connection: sqlite3.Connection, message: AlertMessage, state: str, reason: str) -> None:
        count(connection, f"alerts.{state}", 1)
        data = {
            "id": message.id,
            "condition": message.condition,
            "target": message.target,
            "severity": SEVERITIES[message.severity_number],
            "findings": message.findings,
            "attempts": message.attempts,
            "reason": reason,
        }
        level = "INFO" if state == "sent" else "ERROR"
        event = Event(message.facts.get("agent_id"), f"alert_{state}", "STORE", level, time.time_ns(), data)
        rows = RecordWriter(connection, Chain(keys.load(self._path)[0]))
        rows.store_event(event_record(event))
        rows.finish()

    def _report(self, target: str, error: targets.DeliveryError | None) -> None:
        """Writes one line where a target begins to fail, and one where it works again."""
        if error is not None and target not in self._troubled:
            self._troubled.add(target)
            _logger.warning("Alerts are not sent to %s: %s%s", target, error, "" if error.is_final else _TRIES_AGAIN)
        elif error is None and target in self._troubled:
            self._troubled.discard(target)
            _logger.warning("Alerts are sent to %s again", target)


class AlertSender:
    """Runs the rounds of a process on a thread."""

    def __init__(self, store: Store, settings: config.AlertSettings) -> None:
        """Starts no thread: the first commit of the store does.

        Args:
            store: The store.
            settings: Conditions and targets.
        """
        self._store = store
        self._settings = settings
        self._reset()
        fork_guard.register(self)
        store.watch(self._committed)

    def _reset(self) -> None:
        self._round = AlertRound(self._store.path, self._store.settings, self._settings)
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self._has_commits = False

    def stop(self, timeout_s: float) -> None:
        """Sends what waits, also what still gathers findings, for at most `timeout_s` seconds; then stops."""
        self._store.unwatch(self._committed)
        self._deadline = time.monotonic() + timeout_s
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        elif self._has_commits:  # a process that ends starts no thread any more
            with transport.quiet():
                self._attempt(is_last=True)
                self._leave()

    def before_fork(self) -> None:
        """Holds no connection between rounds."""

    def after_fork_in_child(self) -> None:
        """Forgets the parent's thread and lease; the first commit of the child starts another one."""
        self._reset()

    def _committed(self) -> None:
        """On the writer's thread: there may be new findings."""
        self._has_commits = True
        if self._thread is None:
            with self._lock:
                if self._thread is None and self._deadline is None:
                    self._start()
        self._wake.set()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="cylestio-alerts", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # Python 3.12 starts no thread once the main thread has ended
            self._thread = None

    def _run(self) -> None:
        thread = threading.current_thread()
        with transport.quiet():
            while thread is self._thread and self._deadline is None:
                self._attempt(is_last=False)
                self._wake.wait(self._pause())
                if self._deadline is None:
                    time.sleep(_GATHER_S)  # a round for each commit would cost more than it brings
                self._wake.clear()
            if thread is self._thread:
                self._attempt(is_last=True)
                self._leave()

    def _attempt(self, *, is_last: bool) -> None:
        try:
            self._round.run(is_last=is_last, deadline=self._deadline)
        except (sqlite3.Error, StoreError, OSError) as error:
            _logger.debug("The store cannot be reached for alerts now: %s", error)
        except Exception:  # whatever it is: no alert would be sent if the thread ended
            _logger.warning("A round of alerts failed", exc_info=True)

    def _pause(self) -> float:
        """Returns the seconds until the next message is due, at most `_POLL_S`."""
        try:
            due_ns = self._round.next_due_ns()
        except (sqlite3.Error, StoreError, OSError):
            return _POLL_S
        return _POLL_S if due_ns is None else min(_POLL_S, max(0.0, (due_ns - time.time_ns()) / _SECOND_NS))

    def _leave(self) -> None:
        try:
            self._round.leave()
        except (sqlite3.Error, StoreError, OSError) as error:
            _logger.debug("The lease for alerts stays until it ends: %s", error)
