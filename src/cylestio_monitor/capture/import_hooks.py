"""Callbacks after a module is executed: at its first import, at each reload, and at an import after a purge.

The hooks of `wrapt` run once for each module name. A notebook that reloads modules, or a test that removes an SDK from
`sys.modules`, gets new classes, which have to be patched again.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_callbacks: dict[str, list[Callable[[ModuleType], None]]] = {}


def register(name: str, callback: Callable[[ModuleType], None]) -> None:
    """Calls a function after each execution of a module from now on.

    Args:
        name: The full name of the module, or ``*.name`` for modules of that name in any package.
        callback: Takes the module; it runs inside the import and must not raise.
    """
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _callbacks.setdefault(name, []).append(callback)


def loaded(name: str) -> list[ModuleType]:
    """Returns the loaded modules of a name that is given as to `register`."""
    if not name.startswith("*"):
        return [sys.modules[name]] if name in sys.modules else []
    return [module for found, module in list(sys.modules.items()) if found.endswith(name[1:]) and module is not None]


def _callbacks_of(name: str) -> list[Callable[[ModuleType], None]]:
    package, _, last = name.rpartition(".")
    return [*_callbacks.get(name, ()), *(_callbacks.get(f"*.{last}", ()) if package else ())]


class _Finder:
    """Finds registered modules with the other finders, and adds the callbacks to their loaders."""

    def __init__(self) -> None:
        self._active = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _callbacks_of(name):
            return None
        searched: set[str] = self._active.__dict__.setdefault("names", set())
        if name in searched:  # another finder of this kind asks for the same module
            return None
        searched.add(name)
        try:
            return _notifying(self._find(name, path, target))
        finally:
            searched.discard(name)

    def _find(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, "find_spec", None)
            if finder is not self and find_spec is not None and (spec := find_spec(name, path, target)) is not None:
                found: ModuleSpec = spec
                return found
        return None


def _notifying(spec: ModuleSpec | None) -> ModuleSpec | None:
    if spec is not None and hasattr(spec.loader, "exec_module"):
        loader: Any = _Loader(spec.loader, spec.name)
        spec.loader = loader
    return spec


class _Loader(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in wrapt's stubs only
    """The loader of a registered module until the module is executed; then the module gets the original loader."""

    def __init__(self, loader: Any, name: str) -> None:
        super().__init__(loader)
        self._self_name = name

    def exec_module(self, module: Any) -> None:
        loader: Any = self.__wrapped__
        module.__loader__ = loader
        if module.__spec__ is not None:
            module.__spec__.loader = loader
        loader.exec_module(module)
        for callback in _callbacks_of(self._self_name):
            callback(module)


_finder: Any = _Finder()
