"""The wiring: settings, store, scanner, pipeline, span processors, hooks. Nowhere else do these parts meet.

`start` puts them together once a process, `stop` takes them apart again and leaves the process as it was before, but
for the tracer provider, which OpenTelemetry has no way to take back.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import platformdirs
from opentelemetry import _logs, metrics

from cylestio_monitor import config, pipeline
from cylestio_monitor.errors import CylestioError
from cylestio_monitor.otel import delivery, exits, instrumentors, provider
from cylestio_monitor.otel.delivery import Delivery
from cylestio_monitor.otel.exporter import SQLiteSpanExporter
from cylestio_monitor.otel.jsonlog import JsonLog
from cylestio_monitor.otel.processor import CylestioSpanProcessor, ForeignLogProcessor, ForeignSpanProcessor
from cylestio_monitor.scan import Scanner
from cylestio_monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import TracerProvider

log = logging.getLogger("cylestio_monitor")

EXIT_S = 2.0
"""How long the end of the process, or of monitoring, waits for disk and network together, in seconds."""


class Attached(NamedTuple):
    """A tracer provider, and what was changed about it.

    Attributes:
        provider: The provider.
        added: Our span processors.
        removed: Span processors that would write the same spans to the same store once more.
    """

    provider: Any  # the API's own type has no word for span processors
    added: list[SpanProcessor]
    removed: list[SpanProcessor]


@dataclass
class Running:
    """What `start` put together.

    Attributes:
        loaded: The settings, and where each came from.
        overrides: What `start` was given.
        path: The settings file that `start` was given.
        store: The local store, where it is switched on and can be written.
        json_log: The JSON log, where it is switched on and can be written.
        scanner: The scanner.
        pipeline: The road of every call.
        delivery: What sends over OTLP, where something is configured to.
        attached: Every tracer provider, with what was changed about it.
    """

    loaded: config.Loaded
    overrides: dict[str, Any]
    path: str | Path | None
    store: Store | None
    json_log: JsonLog | None
    scanner: Scanner
    pipeline: pipeline.Pipeline
    delivery: Delivery | None = None
    attached: list[Attached] = field(default_factory=list)


_running: Running | None = None
_logged: weakref.WeakSet[object] = weakref.WeakSet()  # logger providers that have our processor: it cannot be taken off
_lock = threading.RLock()


def running() -> Running | None:
    """What runs now; `None` while monitoring is off."""
    return _running


def start(
    overrides: Mapping[str, Any] | None = None, *, path: str | Path | None = None, instrument: bool = True
) -> Running | None:
    """Starts monitoring; where it runs already, only settings that are given here change anything.

    Args:
        overrides: Settings that win over file and environment, nested as in the file.
        path: A settings file to read in place of the one looked for.
        instrument: Whether the SDKs are hooked here; the launcher does that itself.

    Returns:
        What runs now, or `None` where the settings say `enabled: false`.
    """
    global _running  # noqa: PLW0603 -- one set-up a process: SDK classes are patched once
    with _lock:
        if _running is None or overrides or path:
            merged = _merge(_running.overrides if _running else {}, overrides or {})
            path = path or (_running.path if _running else None)
            loaded = config.load(path=path, overrides=merged)
            if _running is None or loaded.settings != _running.loaded.settings:
                if _running is not None:
                    _take_apart(_running)
                    _running = None
                for problem in loaded.problems:
                    log.warning("%s; the default is used", problem)
                if not loaded.settings.enabled:
                    return None
                _running = _put_together(loaded, merged, path)
        if instrument:
            instrumentors.instrument()
        return _running


def stop() -> None:
    """Ends monitoring: hooks off, span processors off, everything written. Does nothing where nothing runs."""
    global _running  # noqa: PLW0603
    with _lock:
        if _running is not None:
            instrumentors.uninstrument()
            _take_apart(_running)
            _running = None


def scanner(loaded: config.Loaded, key: bytes) -> Scanner:
    """The scanner for these settings; rules that cannot be used are reported, one line each."""
    made = Scanner(
        loaded.settings,
        key=key,
        cache_dir=Path(platformdirs.user_cache_dir("cylestio-monitor", appauthor=False)),
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
    store = _open_store(loaded.settings)
    parts = scanner(loaded, store.key if store is not None else os.urandom(32))
    tracer_provider = provider.ensure(_follow)
    road = pipeline.Pipeline(
        settings=loaded.settings, scanner=parts, store=store, tracer_provider=tracer_provider, meter_provider=None
    )
    made = Running(loaded, overrides, path, store, _open_json_log(loaded.settings), parts, road)
    _attach(made, tracer_provider)
    pipeline.install(road)
    atexit.register(_at_exit)
    return made


def _open_store(settings: config.Settings) -> Store | None:
    if not settings.store.enabled:
        return None
    path = config.database_path(settings)
    try:
        return Store.open(path, settings.store)
    except (CylestioError, OSError) as error:
        log.warning("Nothing is stored locally: %s", error)
        return None


def _open_json_log(settings: config.Settings) -> JsonLog | None:
    if not settings.log.file:
        return None
    try:
        return JsonLog(settings.log)
    except OSError as error:
        log.warning("The JSON log is not written: %s", error)
        return None


def _attach(made: Running, tracer_provider: TracerProvider) -> None:
    """Adds our span processors to a provider that takes any."""
    add = getattr(tracer_provider, "add_span_processor", None)
    if add is None:
        log.warning("Nothing is stored of spans: %s takes no span processors", type(tracer_provider).__name__)
        return
    processors: list[SpanProcessor] = [ForeignSpanProcessor()]
    doubles: list[SpanProcessor] = []
    if made.store is not None:
        processors.append(CylestioSpanProcessor(made.store))
        doubles = [one for one in provider.span_processors(tracer_provider) if _writes_to(one, made.store.path)]
    if not provider.remove(tracer_provider, doubles):
        doubles = []
    for processor in processors:
        add(processor)
    made.attached.append(Attached(tracer_provider, processors, doubles))
    _deliver(made, tracer_provider)
    logger_provider = _logs.get_logger_provider()
    if hasattr(logger_provider, "add_log_record_processor") and logger_provider not in _logged:
        _logged.add(logger_provider)
        logger_provider.add_log_record_processor(ForeignLogProcessor())


def _deliver(made: Running, tracer_provider: TracerProvider) -> None:
    """Sends through the store what this provider sends; the application's own set-up replaces the environment's."""
    meter_provider = metrics.get_meter_provider()
    if made.store is None or not delivery.is_wanted(tracer_provider, meter_provider):
        return
    if made.delivery is not None:
        made.delivery.give_back(EXIT_S / 2)
    made.delivery = Delivery(made.store, tracer_provider, meter_provider)


def _writes_to(processor: SpanProcessor, path: Path) -> bool:
    exporter = getattr(processor, "span_exporter", None)
    return isinstance(exporter, SQLiteSpanExporter) and exporter.path == path


def _follow(tracer_provider: TracerProvider) -> None:
    """Moves to the provider that the application set in place of ours."""
    with _lock:
        if _running is None:
            return
        _attach(_running, tracer_provider)
        _running.pipeline = pipeline.Pipeline(
            settings=_running.loaded.settings,
            scanner=_running.scanner,
            store=_running.store,
            tracer_provider=tracer_provider,
            meter_provider=None,
        )
        pipeline.install(_running.pipeline)


def _take_apart(made: Running) -> None:
    atexit.unregister(_at_exit)
    pipeline.install(None)
    made.pipeline.flush()
    if made.delivery is not None:
        made.delivery.give_back(EXIT_S)
    for tracer_provider, added, removed in made.attached:
        provider.remove(tracer_provider, added)
        for processor in added:
            processor.shutdown()
        for processor in removed:
            tracer_provider.add_span_processor(processor)
    if made.store is not None:
        made.store.close(EXIT_S)
    if made.json_log is not None:
        made.json_log.close()


def _at_exit() -> None:
    """Has everything written that was seen, and what can be sent in time; runs before the providers' own handlers."""
    made = _running
    if made is None:
        return
    deadline = time.monotonic() + EXIT_S
    made.pipeline.flush()
    exits.shut_down_metrics(deadline)
    if made.delivery is not None:
        made.delivery.outbox.stop(deadline - time.monotonic())
    if made.store is not None:
        made.store.close(max(0.5, deadline - time.monotonic()))
    exits.shut_down_processors([one.provider for one in made.attached], deadline)


def _after_fork() -> None:
    """A lock that another thread of the parent held would never be released in the child."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
