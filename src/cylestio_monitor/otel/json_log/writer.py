"""The JSON log: every event and every monitored call as one line of a private file."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.otel.json_log.calls import call_event
from cylestio_monitor.otel.json_log.private_file import PrivateLog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from cylestio_monitor import config
    from cylestio_monitor.store import Event

log = logging.getLogger("cylestio_monitor")

_MIB: Final = 1 << 20
_KEYS: Final = ("timestamp", "agent_id", "event_type", "channel", "level", "trace_id", "span_id", "data")


class JsonLog:
    """Writes events as they come, one JSON object per line; for any number of threads and processes.

    Attributes:
        path: The file.
    """

    def __init__(self, settings: config.LogSettings) -> None:
        """Opens the file.

        Raises:
            OSError: It cannot be written, or is not a log of this package.
        """
        self.path = Path(settings.file or "").expanduser()
        self._is_failing = False
        self._file = PrivateLog(self.path, max_bytes=settings.max_mb * _MIB, backups=settings.backups, keys=_KEYS)

    def write(self, event: Event) -> None:
        """Appends one event; reports the first of several failures in a row."""
        try:
            self._file.write(line(event))
        except OSError as error:
            if not self._is_failing:
                log.warning("cylestio: the JSON log is not written: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False

    def write_call(self, span: ReadableSpan) -> None:
        """Appends the event of a monitored call with its findings; other spans have no line. Never raises."""
        try:
            event = call_event(span)
        except Exception:  # another instrumentation's span may hold anything; the application goes on
            log.debug("A span could not be written to the JSON log", exc_info=True)
            return
        if event is not None:
            self.write(event)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def line(event: Event) -> str:
    """Returns an event as one line of JSON, without its line end."""
    seconds, nanos = divmod(event.timestamp_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=nanos // 1000)
    values: tuple[Any, ...] = (
        moment.isoformat().replace("+00:00", "Z"),
        event.agent_id,
        event.event_type,
        event.channel,
        event.level,
        event.trace_id,
        event.span_id,
        event.data,
    )
    return msgspec.json.encode(dict(zip(_KEYS, values, strict=True))).decode()
