"""How an SDK is hooked: when it is imported, reversibly, once, and without a word to the application if that fails.

No SDK is imported here. An instrumentor names the modules it waits for; what is imported already is patched at once,
the rest when the application imports it.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from cylestio_monitor import runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

    from cylestio_monitor.pipeline import Pipeline

log = logging.getLogger(__name__)

_ABSENT = object()

State = Literal["off", "waiting", "hooked", "failed"]


class Patches:
    """Replaced attributes of an SDK's classes and modules, and the objects that stood there before."""

    def __init__(self) -> None:
        """Starts with nothing replaced."""
        self._replaced: list[tuple[Any, str, object, object]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], object]) -> None:
        """Replaces `owner.name` by `make(original)`.

        Args:
            owner: A class or module that defines the attribute itself.
            name: The attribute.
            make: Gives the replacement of the object that stands in the owner's own namespace.

        Raises:
            AttributeError: The owner does not define the attribute: this SDK is built otherwise than expected.
        """
        original = vars(owner).get(name)
        if original is None:
            raise AttributeError(f"{getattr(owner, '__qualname__', owner)} defines no {name}")
        replacement = make(original)
        setattr(owner, name, replacement)
        self._replaced.append((owner, name, original, replacement))

    def place(self, owner: Any, name: str, placed: object) -> None:
        """Puts an attribute on a class that has none of that name: a descriptor over a field of its instances."""
        setattr(owner, name, placed)
        self._replaced.append((owner, name, _ABSENT, placed))

    def restore(self) -> None:
        """Puts the identical original objects back, the last replaced first."""
        while self._replaced:
            owner, name, original, replacement = self._replaced.pop()
            if vars(owner).get(name) is replacement:
                if original is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)
            else:
                # Another library has wrapped ours meanwhile. Ours stays below it, and passes calls through when off.
                log.debug("%s.%s was replaced by another library and is left as it is", owner, name)


class Instrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Hooks one SDK. A subclass says which modules to wait for, and who wraps what is in them.

    Attributes:
        modules: The modules whose import is waited for, by full name.
        hooks: The module of this package whose `patch` wraps them; imported when the SDK is.
        dependencies: Which versions of which distributions can be hooked.
        state: ``waiting`` for an import, ``hooked``, ``failed``, or ``off``.
        reason: Why it is so, in a few words, where the state does not say it.
    """

    modules: ClassVar[tuple[str, ...]] = ()
    hooks: ClassVar[str] = ""
    dependencies: ClassVar[tuple[str, ...]] = ()
    state: State = "off"
    reason: str = ""
    _registered: bool = False
    _patches: Patches

    def patch(self, module: ModuleType, patches: Patches) -> None:
        """Wraps what is to be observed in a module that has just been imported."""
        importlib.import_module(f"{type(self).__module__}.{self.hooks}").patch(module, patches)

    def instrumentation_dependencies(self) -> Collection[str]:
        """The versions that can be hooked, as requirement strings."""
        return self.dependencies

    def instrument(self, **kwargs: Any) -> None:
        """Hooks the SDK, once: the launcher asks again for what the set-up has done before it."""
        if not self.is_instrumented_by_opentelemetry:
            super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        _standalone.acquire(self, kwargs.get("tracer_provider"), kwargs.get("meter_provider"))
        self._patches = Patches()
        self.state, self.reason = "waiting", "not imported yet"
        waited_for = [name for name in self.modules if name not in sys.modules]
        for name in self.modules:
            if name not in waited_for:
                self._imported(sys.modules[name])
        if not self._registered:
            type(self)._registered = True  # noqa: SLF001 -- import hooks stay for good: one set a class, not one a call
            for name in self.modules:
                if name in waited_for:
                    wrapt.register_post_import_hook(self._imported, name)

    def _uninstrument(self, **_: Any) -> None:
        self.state, self.reason = "off", ""
        self._patches.restore()
        _standalone.release(self)

    def _imported(self, module: ModuleType) -> None:
        """Patches a module. Runs inside the application's import: it must not raise."""
        if self.state == "off":
            return
        try:
            self.patch(module, self._patches)
            self.state, self.reason = "hooked", ""
            runtime.prewarm()
        except Exception as error:  # noqa: BLE001 -- whatever an unknown version holds: the import must succeed
            self._patches.restore()
            self.state, self.reason = "failed", f"{module.__name__}: {error}"
            log.warning("%s could not be hooked and is not monitored: %s", module.__name__, error)


class _Standalone:
    """The pipeline of instrumentors that are used by themselves, without `start_monitoring` and the launcher."""

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
    from cylestio_monitor.scan import Scanner  # noqa: PLC0415

    settings = config.load().settings
    return pipeline.Pipeline(
        settings=settings,
        scanner=Scanner(settings, key=os.urandom(32), cache_dir=config.cache_folder()),
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )


_standalone = _Standalone()
