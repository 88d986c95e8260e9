"""The thread that asks detectors or moderators, and what a call has asked of it.

A call leaves its texts in a bounded queue and goes on. What is known when it ends stands on its span; what comes later
is reported for the same span. Only where the settings ask for it does a call wait, and then no longer than the budget.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from opentelemetry import context as otel_context

from cylestio_monitor import runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext

    from cylestio_monitor.model import Finding, Subtype, Target

    Settled = Callable[[Finding, str], "Finding | None"]

_log = logging.getLogger(__name__)
_QUEUE = 256


class Question(NamedTuple):
    """One text that is asked about.

    Attributes:
        asked: The questions of its call.
        text: The text, at most `max_chars` code points of it.
        target: The side of the call.
        subtype: The surface.
        path: The place in the call.
    """

    asked: Asked
    text: str
    target: Target
    subtype: Subtype
    path: str


class Asked:
    """The questions of one call to one worker: its thread adds findings, the call takes them.

    Attributes:
        settle: Completes a finding of a text; ``None`` where it is silenced.
        span: The span of the call, where it has one.
        has_failed: An answer is owed and will not come.
    """

    def __init__(self, settle: Settled, span: SpanContext | None = None) -> None:
        """Nothing is asked yet.

        Args:
            settle: Completes a finding of a text; ``None`` where it is silenced.
            span: The span of the call, where it has one.
        """
        self.settle = settle
        self.span = span
        self.has_failed = False
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._pending = 0
        self._found: list[Finding] = []
        self._later: Callable[[list[Finding]], None] | None = None

    def expect(self) -> None:
        """One more answer will come."""
        with self._lock:
            self._pending += 1
            self._idle.clear()

    def answer(self, found: list[Finding]) -> None:
        """One answer has come."""
        with self._lock:
            self._pending -= 1
            later = self._later if found else None
            if later is None:
                self._found += found
            if not self._pending:
                self._idle.set()
        if later is not None:
            self._context.run(later, found)

    def run(self, function: Callable[[], None]) -> None:
        """Calls a function in the context of the call."""
        self._context.run(function)

    @property
    def is_complete(self) -> bool:
        """Every answer has come."""
        return not self.has_failed and not self._pending

    def take(self, timeout_s: float = 0) -> list[Finding]:
        """Returns the findings that have arrived, after a bounded wait for the others; each finding once."""
        if timeout_s:
            self._idle.wait(timeout_s)
        with self._lock:
            found, self._found = self._found, []
        return found

    def leave(self, later: Callable[[list[Finding]], None]) -> None:
        """Has what comes from now on, and what was not taken, given to `later`, in the context of the call."""
        with self._lock:
            found, self._found = self._found, []
            self._later = later
        if found:
            later(found)


class WorkerSettings(Protocol):
    """The settings that a worker itself reads."""

    @property
    def use(self) -> tuple[str, ...]:
        """Names of entry points."""

    @property
    def wait(self) -> bool:
        """Calls wait for the answers."""

    @property
    def budget_ms(self) -> int:
        """Longest wait."""

    @property
    def max_chars(self) -> int:
        """Longest text that is asked about, in code points."""


Member = TypeVar("Member")
SettingsType = TypeVar("SettingsType", bound=WorkerSettings)


class Worker(ABC, Generic[SettingsType, Member]):
    """Members of one kind and their thread, which begins with the first text, also in a forked child.

    Attributes:
        kind: The noun for a member in messages.
        group: The group of entry points that name factories of members.
        settings: The settings.
        dropped: Texts that found the queue full.
        failed: Answers that a member owed: it raised, or took longer than its budget.
    """

    kind: ClassVar[str]
    group: ClassVar[str]

    def __init__(self, settings: SettingsType) -> None:
        """Keeps the settings; nothing is loaded yet."""
        self.settings = settings
        self.dropped = 0
        self.failed = 0
        self._queue: queue.Queue[Question] = queue.Queue(_QUEUE)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loaded: list[tuple[str, Member]] | None = None

    @abstractmethod
    def wants(self, target: Target, subtype: Subtype) -> bool:
        """Returns whether texts of this side and surface are asked about."""

    @abstractmethod
    def put_question(self, member: Member, question: Question) -> Any:
        """Asks one member; the answer may be an awaitable."""

    @abstractmethod
    def read(self, name: str, question: Question, answer: Any) -> list[Finding]:
        """Returns the findings in an answer."""

    def members(self) -> list[tuple[str, Member]]:
        """Returns the members by name; those of entry points are loaded once, in the thread."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def ask(self, asked: Asked, text: str, *, target: Target, subtype: Subtype, path: str) -> None:
        """Leaves a text in the queue; never waits."""
        limit = self.settings.max_chars
        question = Question(asked, text if len(text) <= limit else text[:limit], target, subtype, path)
        asked.expect()
        try:
            self._queue.put_nowait(question)
        except queue.Full:
            self.dropped += 1
            asked.has_failed = True
            asked.answer([])
            return
        if self._thread is None or not self._thread.is_alive():
            self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=f"cylestio-{self.kind}s", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        # What a member asks a service through a monitored SDK is no call of the application.
        context = otel_context.set_value("suppress_instrumentation", True)
        otel_context.attach(otel_context.set_value(runtime.UNMONITORED, True, context))
        self.members()
        loop = asyncio.new_event_loop()
        while True:
            question = self._queue.get()
            found: list[Finding] = []
            for name, member in self.members():
                try:
                    found += self.read(name, question, self._answer(member, question, loop))
                except Exception as error:  # noqa: BLE001 -- foreign code: whatever it raises, the others are asked
                    self.failed += 1
                    question.asked.has_failed = True
                    _log.debug("the %s %s has no answer: %r", self.kind, name, error)
            try:
                question.asked.answer(found)
            except Exception:  # noqa: BLE001 -- the thread goes on for all other calls
                _log.debug("an answer of a %s could not be reported", self.kind, exc_info=True)

    def _answer(self, member: Member, question: Question, loop: asyncio.AbstractEventLoop) -> Any:
        answer = self.put_question(member, question)
        if inspect.isawaitable(answer):
            answer = loop.run_until_complete(asyncio.wait_for(answer, self.settings.budget_ms / 1000))
        return answer

    def _load(self) -> list[tuple[str, Member]]:
        """Loads the entry points of the settings; one that cannot be had is named in the log and left out."""
        found: list[tuple[str, Member]] = []
        for name in self.settings.use:
            known = [entry for entry in entry_points(group=self.group) if entry.name == name]
            if not known:
                _log.warning("No %s is called %s; the others are asked", self.kind, name)
                continue
            began = time.monotonic()
            try:
                found.append((name, known[0].load()(self.settings)))
            except Exception as error:  # noqa: BLE001 -- foreign code: the monitoring goes on without it
                _log.warning("The %s %s cannot be used: %s", self.kind, name, error)
            else:
                _log.info("The %s %s was loaded in %.1f s", self.kind, name, time.monotonic() - began)
        return found


WorkerType = TypeVar("WorkerType", bound="Worker[Any, Any]")
_started: dict[tuple[type, Any], Worker[Any, Any]] = {}
_starting = threading.Lock()


def start(kind: type[WorkerType], settings: WorkerSettings) -> WorkerType:
    """Returns the worker of this kind and these settings, the same one each time."""
    with _starting:
        worker = _started.setdefault((kind, settings), kind(settings))
        assert isinstance(worker, kind)
        return worker
