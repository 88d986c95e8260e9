"""The base class of all instrumentors: hooks an SDK at its import, reversibly, and never fails the import.

No SDK is imported here. An instrumentor registers the modules of its SDK: a module that is loaded already is patched at
once, every other one when the application imports it, and each one again when it is reloaded.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from cylestio_monitor import runtime
from cylestio_monitor.capture import import_hooks, span_resolvers
from cylestio_monitor.capture.patching import Patches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

    from cylestio_monitor.pipeline import Pipeline

log = logging.getLogger(__name__)

State = Literal["off", "waiting", "hooked", "failed"]

_states: dict[str, State] = {}
"""The state of each instrumentor by the key of its SDK, for hooks that depend on the hook of another SDK."""


def is_hooked(sdk: str) -> bool:
    """Returns whether the hooks of an SDK are in place.

    Args:
        sdk: A key of `registry.SDKS`.
    """
    return _states.get(sdk) == "hooked"


class Instrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Hooks one SDK. `registry` makes one subclass for each.

    Attributes:
        sdk: The key of the SDK in `registry.SDKS`.
        modules: The modules whose import is waited for, by full name.
        hooks: The module whose `patch` wraps them, by full name; it is imported with the SDK.
        dependencies: The supported versions, as requirement strings.
        state: ``waiting`` for an import, ``hooked``, ``failed``, or ``off``.
        reason: Why the SDK is in this state, in a few words, where the state does not say it.
    """

    sdk: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    hooks: ClassVar[str] = ""
    dependencies: ClassVar[tuple[str, ...]] = ()
    state: State = "off"
    reason: str = ""
    _registered: bool = False
    _patches: Patches

    def instrumentation_dependencies(self) -> Collection[str]:
        """Returns the supported versions, as requirement strings."""
        return self.dependencies

    def instrument(self, **kwargs: Any) -> None:
        """Hooks the SDK once: the launcher instruments again what the set-up has instrumented before it."""
        if not self.is_instrumented_by_opentelemetry:
            super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        _standalone.acquire(self, kwargs.get("tracer_provider"), kwargs.get("meter_provider"))
        self._patches = Patches()
        self._set_state("waiting", "not imported yet")
        if not self._registered:
            type(self)._registered = True  # noqa: SLF001 -- import hooks are never removed: one set for each class
            for name in self.modules:
                import_hooks.register(name, self._imported)
        self._patches.is_late = True
        for name in self.modules:
            for module in import_hooks.loaded(name):
                self._imported(module)
        self._patches.is_late = False

    def _uninstrument(self, **_: Any) -> None:
        self._set_state("off", "")
        self._patches.restore()
        _standalone.release(self)

    def _imported(self, module: ModuleType) -> None:
        """Patches a module. It runs inside the application's import, so it must not raise."""
        if self.state in {"off", "failed"}:
            return
        try:
            hooks = importlib.import_module(self.hooks)
            if hasattr(hooks, "applies") and not hooks.applies(module):
                return
            hooks.patch(module, self._patches)
            self._set_state("hooked", "")
            runtime.prewarm()
        except Exception as error:  # noqa: BLE001 -- an unknown version may hold anything, and the import must succeed
            self._patches.restore()
            self._set_state("failed", f"{module.__name__}: {error}")
            log.warning("%s could not be hooked and is not monitored: %s", module.__name__, error)

    def _set_state(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        _states[self.sdk] = state


class _Standalone:
    """The pipeline of instrumentors that are used without `start_monitoring` and without the launcher."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: set[int] = set()
        self._make: Callable[[], Pipeline] | None = None

    def acquire(self, user: object, tracer_provider: Any, meter_provider: Any) -> None:
        with self._lock:
            if not runtime.is_on():
                self._make = functools.partial(_pipeline, tracer_provider, meter_provider)
                runtime.turn_on(self._make)
            if runtime.is_on(self._make):
                self._users.add(id(user))
            elif tracer_provider is not None:
                log.warning("Monitoring is running already: the given tracer provider is not used")

    def release(self, user: object) -> None:
        with self._lock:
            self._users.discard(id(user))
            if not self._users and self._make is not None:
                if runtime.is_on(self._make):
                    runtime.turn_off()
                self._make = None


def _pipeline(tracer_provider: Any, meter_provider: Any) -> Pipeline:
    from cylestio_monitor import config, pipeline  # noqa: PLC0415 -- when there is a call
    from cylestio_monitor.scan import Scanner  # noqa: PLC0415 -- as above

    settings = config.load().settings
    atexit.register(runtime.end_open_calls)
    return pipeline.Pipeline(
        settings=settings,
        scanner=Scanner(settings, key=os.urandom(32), cache_dir=config.cache_folder()),
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        resolvers=span_resolvers.ORDERED,
    )


_standalone = _Standalone()
