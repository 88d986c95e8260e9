"""The wiring: settings, store, scanner, pipeline, span processors, hooks. Nowhere else do these parts meet.

`start` puts them together once a process; what only a call needs is made when one is to be expected. `stop` takes them
apart again and leaves the process as it was before, but for the tracer provider, which OpenTelemetry has no way to take
back.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import metrics

from cylestio_monitor import config, forks, runtime
from cylestio_monitor.capture import span_resolvers
from cylestio_monitor.errors import CylestioError
from cylestio_monitor.otel import exits, instrumentors, provider, summary
from cylestio_monitor.otel.processor import CylestioSpanProcessor, ExternalLogProcessor
from cylestio_monitor.runtime import Lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import TracerProvider

    from cylestio_monitor.otel.delivery import Delivery
    from cylestio_monitor.otel.json_log.writer import JsonLog
    from cylestio_monitor.pipeline import Pipeline
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store import Store
    from cylestio_monitor.store.alerts.sender import AlertSender

log = logging.getLogger("cylestio_monitor")

EXIT_S = 2.0
"""Seconds that the end of the process, or of monitoring, waits for disk and network together."""


class ProviderChange(NamedTuple):
    """The change of one tracer provider.

    Attributes:
        provider: The provider.
        added: Our span processor.
        removed: Span processors that would write the same spans to the same store once more.
    """

    provider: Any  # the API's own type has no method for span processors
    added: SpanProcessor
    removed: list[SpanProcessor]


class Running:
    """The parts that `start` created. The store is opened and the rules are read on first use.

    Attributes:
        loaded: The settings, and where each came from.
        overrides: What `start` was given.
        path: The settings file that `start` was given.
        provider: The tracer provider in use.
        json_log: The JSON log, where it is switched on and can be written.
        delivery: What sends over OTLP, where something is configured to.
        alerts: The sender of alerts, where some are configured and the store is open.
        changes: The change of every tracer provider.
    """

    def __init__(
        self,
        loaded: config.Loaded,
        overrides: dict[str, Any],
        path: str | Path | None,
        tracer_provider: TracerProvider,
    ) -> None:
        """Opens and reads nothing yet but the JSON log."""
        self.loaded = loaded
        self.overrides = overrides
        self.path = path
        self.provider = tracer_provider
        self.json_log = _open_json_log(loaded.settings)
        self.delivery: Delivery | None = None
        self.changes: list[ProviderChange] = []
        self.alerts: AlertSender | None = None
        self.store_part: Lazy[Store | None] = Lazy(self._open_store)
        self._scanner: Lazy[Scanner] = Lazy(lambda: scanner(loaded, self._key()))

    @property
    def store(self) -> Store | None:
        """The local store, where it is switched on and can be written."""
        return self.store_part.get()

    @property
    def scanner(self) -> Scanner:
        """The scanner."""
        made = self._scanner.get()
        assert made is not None
        return made

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        made: Pipeline | None = runtime.get_or_create()
        assert made is not None
        return made

    def make_pipeline(self) -> Pipeline:
        """A pipeline of these parts."""
        from cylestio_monitor.otel.control import make_controller  # noqa: PLC0415 -- when there is a call
        from cylestio_monitor.otel.logged_events.moderation import ModerationEvents  # noqa: PLC0415 -- as above
        from cylestio_monitor.pipeline import Pipeline  # noqa: PLC0415 -- as above

        return Pipeline(
            settings=self.loaded.settings,
            scanner=self.scanner,
            store=self.store,
            tracer_provider=self.provider,
            meter_provider=None,
            resolvers=span_resolvers.ORDERED,
            controller=make_controller(self.loaded, self.store),
            reporter=ModerationEvents(self.loaded.settings, self.scanner, self.store, self.json_log),
        )

    def flush_delivery(self, timeout_s: float) -> bool:
        """Waits until the spans that are stored have been delivered, where any are; whether they have been."""
        return self.delivery is None or self.delivery.outbox.force_flush(timeout_s, ("traces",))

    def _open_store(self) -> Store | None:
        store = _open_store(self.loaded.settings)
        if store is not None:
            from cylestio_monitor.store.alerts.start import make_sender  # noqa: PLC0415 -- as of the store

            self.alerts = make_sender(store, self.loaded.settings.alerts)
        return store

    def _key(self) -> bytes:
        store = self.store
        return store.key if store is not None else os.urandom(32)


on_start: list[Callable[[Running | None], None]] = []
"""Functions that `start` calls with the new set-up, or with ``None`` where the settings disable monitoring."""

_running: Running | None = None
_was_started = False
_summary: summary.RunSummary | None = None
_logged: weakref.WeakSet[object] = weakref.WeakSet()  # logger providers that have our processor: it cannot be taken off
_lock = threading.RLock()


def running() -> Running | None:
    """Returns the running set-up; `None` while monitoring is off."""
    return _running


def was_started() -> bool:
    """Tells if `start` was called in this process, also where the settings disable monitoring."""
    return _was_started


def _run_callbacks() -> None:
    for callback in on_start:
        try:
            callback(_running)
        except Exception:  # an event that cannot be written must not keep monitoring from starting
            log.debug("A callback of the start failed", exc_info=True)


def start(
    overrides: Mapping[str, Any] | None = None,
    *,
    path: str | Path | None = None,
    instrument: bool = True,
    is_launched: bool = False,
) -> Running | None:
    """Starts monitoring; where it runs already, only settings that are given here change anything.

    Args:
        overrides: Settings that win over file and environment, nested as in the file.
        path: A settings file to read in place of the one looked for.
        instrument: Whether the SDKs are hooked here; the launcher does that itself.
        is_launched: The launcher has started the process: a summary ends its run.

    Returns:
        What runs now, or `None` where the settings say `enabled: false`.
    """
    global _running, _summary, _was_started  # noqa: PLW0603 -- one set-up a process: SDK classes are patched once
    with _lock:
        if _running is None or overrides or path:
            merged = _merge(_running.overrides if _running else {}, overrides or {})
            path = path or (_running.path if _running else None)
            in_force = _running.loaded.settings if _running else None
            loaded = config.load(path=path, overrides=merged, in_force=in_force)
            loaded.report(log)
            if _running is None or loaded.settings != _running.loaded.settings:
                if _running is not None:
                    _take_apart(_running)
                    _running = None
                if loaded.settings.enabled:
                    if is_launched and loaded.settings.summary:
                        _summary = summary.of_this_run()
                    _running = _put_together(loaded, merged, path)
                _was_started = True
                _run_callbacks()
                if _running is None:
                    return None
        if instrument:
            instrumentors.instrument()
        return _running


def stop() -> None:
    """Ends monitoring: hooks off, span processors off, everything written. Does nothing where nothing runs."""
    global _running  # noqa: PLW0603 -- state of the process
    with _lock:
        if _running is not None:
            instrumentors.uninstrument()
            _take_apart(_running)
            _running = None


def scanner(loaded: config.Loaded, key: bytes) -> Scanner:
    """The scanner for these settings; rules that cannot be used are reported, one line each."""
    from cylestio_monitor.scan import Scanner  # noqa: PLC0415 -- a program that makes no call needs none of this

    made = Scanner(
        loaded.settings,
        key=key,
        cache_dir=config.cache_folder(),
        base_dir=loaded.source.parent if loaded.source else None,
    )
    for problem in made.problems:
        log.warning("%s; the other rules apply", problem)
    return made


def _merge(tree: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; `more` wins."""
    merged = dict(tree)
    for key, value in more.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _put_together(loaded: config.Loaded, overrides: dict[str, Any], path: str | Path | None) -> Running:
    made = Running(loaded, overrides, path, provider.ensure(_follow))
    _attach(made)
    runtime.turn_on(made.make_pipeline)
    _exit_first()
    return made


def _exit_first() -> None:
    """Makes our exit handler run before those that are registered by now, such as the one of the store."""
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)


def _open_store(settings: config.Settings) -> Store | None:
    if not settings.store.enabled:
        return None
    from cylestio_monitor.store import Store  # noqa: PLC0415 -- when there is something to be stored

    path = config.database_path(settings)
    try:
        store = Store.open(path, settings.store)
    except (CylestioError, OSError) as error:
        log.warning("Nothing is stored locally: %s", error)
        return None
    _exit_first()
    return store


def _open_json_log(settings: config.Settings) -> JsonLog | None:
    if not settings.log.file:
        return None
    from cylestio_monitor.otel.json_log.writer import JsonLog  # noqa: PLC0415 -- where one is wanted

    try:
        return JsonLog(settings.log)
    except OSError as error:
        log.warning("The JSON log is not written: %s", error)
        return None


def _attach(made: Running) -> None:
    """Adds our span processors to a provider that takes any."""
    tracer_provider = made.provider
    add = getattr(tracer_provider, "add_span_processor", None)
    if add is None:
        log.warning("Nothing is stored of spans: %s takes no span processors", type(tracer_provider).__name__)
        return
    theirs = provider.span_processors(tracer_provider)
    is_stored = made.loaded.settings.store.enabled
    ours = CylestioSpanProcessor(made.store_part.get if is_stored else None, made.flush_delivery, made.json_log)
    doubles = [one for one in theirs if _writes_to(one, made.loaded.settings)] if is_stored else []
    if not provider.remove(tracer_provider, doubles):
        doubles = []
    add(ours)
    if _summary is not None:
        _summary.attach(tracer_provider)
    made.changes.append(ProviderChange(tracer_provider, ours, doubles))
    meter_provider, logger_provider = metrics.get_meter_provider(), provider.logger_provider()
    # The SDK's have it, the API's stand-ins have not.
    if theirs or hasattr(meter_provider, "shutdown") or hasattr(logger_provider, "shutdown"):
        _deliver(made, tracer_provider, meter_provider)
    if hasattr(logger_provider, "add_log_record_processor") and logger_provider not in _logged:
        _logged.add(logger_provider)
        logger_provider.add_log_record_processor(ExternalLogProcessor())


def _deliver(made: Running, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
    """Sends through the store what this provider sends; the application's own set-up replaces the environment's."""
    from cylestio_monitor.otel import delivery  # noqa: PLC0415 -- where something may be sent

    if not delivery.is_wanted(tracer_provider, meter_provider) or made.store is None:
        return
    if made.delivery is not None:
        made.delivery.give_back(EXIT_S / 2)
    made.delivery = delivery.Delivery(made.store, tracer_provider, meter_provider)


def _writes_to(processor: SpanProcessor, settings: config.Settings) -> bool:
    ours = sys.modules.get("cylestio_monitor.otel.exporter")
    exporter = getattr(processor, "span_exporter", None)
    if ours is None or not isinstance(exporter, ours.SQLiteSpanExporter):
        return False
    return bool(exporter.path == config.database_path(settings))


def _follow(tracer_provider: TracerProvider) -> None:
    """Moves to the provider that the application set in place of ours."""
    with _lock:
        if _running is None:
            return
        _running.provider = tracer_provider
        _attach(_running)
        # What it is made of stays; only a call makes it anew.
        runtime.turn_on(_running.make_pipeline)


def _take_apart(made: Running) -> None:
    atexit.unregister(_at_exit)
    running_pipeline = runtime.pipeline
    runtime.turn_off()
    if running_pipeline is not None:
        running_pipeline.flush()
    if made.delivery is not None:
        made.delivery.give_back(EXIT_S)
    for tracer_provider, added, removed in made.changes:
        provider.remove(tracer_provider, [added])
        added.shutdown()
        for processor in removed:
            tracer_provider.add_span_processor(processor)
    store = made.store_part.created
    if store is not None:
        store.close(EXIT_S)
    if made.alerts is not None:
        made.alerts.stop(EXIT_S)
    if made.json_log is not None:
        made.json_log.close()


def _at_exit() -> None:
    """Has everything written that was seen, and what can be sent in time; runs before the providers' own handlers."""
    made = _running
    if made is None:
        return
    deadline = time.monotonic() + EXIT_S
    runtime.wait(EXIT_S)
    runtime.end_open_calls()
    exits.shut_down_metrics(deadline)
    if made.delivery is not None:
        made.delivery.outbox.stop(deadline - time.monotonic())
    store = made.store_part.created
    if store is not None:
        store.close(max(0.5, deadline - time.monotonic()))
    if made.alerts is not None:
        made.alerts.stop(max(0.5, deadline - time.monotonic()))
    exits.shut_down_processors([one.provider for one in made.changes], deadline)
    if _summary is not None:
        _summary.write(is_stored=store is not None)


def _in_child() -> None:
    """Replaces the lock in a forked child: the thread that held it does not exist there."""
    global _lock  # noqa: PLW0603 -- the child's own
    _lock = threading.RLock()


forks.register("setup", forks.Order.THREADS, in_child=_in_child)
