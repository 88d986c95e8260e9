"""Replaces attributes of an SDK's classes and modules, and puts the original objects back."""

from __future__ import annotations

import logging
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)


class Target(NamedTuple):
    """One attribute of an SDK that is wrapped.

    Attributes:
        module: The module that defines it, by full name.
        owner: The class that holds it; empty for a function of the module.
        name: The attribute.
        make: Returns the replacement of the original object.
        optional: Whether a version of the SDK without the attribute is supported.
        applies: Returns whether the installed version of the SDK uses the attribute.
        is_imported_by_name: Whether other modules import the function by name: it is replaced in, and restored in, all
            loaded modules that hold it.
    """

    module: str
    owner: str
    name: str
    make: Callable[[Any], Any]
    optional: bool = False
    applies: Callable[[], bool] | None = None
    is_imported_by_name: bool = False


class _Replacement(NamedTuple):
    owner: Any
    name: str
    original: object
    replacement: object


class Patches:
    """The attributes that one instrumentor has replaced, with the original objects.

    Attributes:
        is_late: Whether the module that is patched was loaded before the SDK is hooked.
    """

    def __init__(self) -> None:
        """Starts with nothing replaced."""
        self.is_late = False
        self._replaced: list[_Replacement] = []
        self._imported: list[tuple[object, object]] = []
        self._undo: list[Callable[[], None]] = []

    def apply(self, targets: Iterable[Target], module: ModuleType) -> None:
        """Wraps the targets that a module defines.

        Args:
            targets: The targets of one SDK, of all its modules.
            module: A module that has just been executed.

        Raises:
            AttributeError: The module does not define a target that is not optional.
        """
        for target in targets:
            # Not by `__name__`: CrewAI overwrites it in several of its modules.
            if sys.modules.get(target.module) is not module or (target.applies is not None and not target.applies()):
                continue
            owner = getattr(module, target.owner, None) if target.owner else module
            if target.optional and (owner is None or target.name not in vars(owner)):
                continue
            if owner is None:
                raise AttributeError(f"{target.module} defines no {target.owner}")
            original = vars(owner).get(target.name)
            self.wrap(owner, target.name, target.make)
            if target.is_imported_by_name:
                self._imported.append((original, vars(owner)[target.name]))
                if self.is_late:
                    _replace_everywhere(original, vars(owner)[target.name])

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replaces `owner.name` with `make(original)`.

        A function that several modules export is wrapped once: all of them get the same replacement.

        Args:
            owner: A class or module that defines the attribute itself.
            name: The attribute.
            make: Returns the replacement of the object in the owner's own namespace.

        Raises:
            AttributeError: The owner does not define the attribute.
        """
        found = vars(owner).get(name)
        if found is None:
            raise AttributeError(f"{getattr(owner, '__qualname__', owner)} defines no {name}")
        original, replacement = self._known(found) or (found, _replacement(found, make))
        if found is not replacement:
            setattr(owner, name, replacement)
        self._replaced.append(_Replacement(owner, name, original, replacement))

    def on_restore(self, undo: Callable[[], None]) -> None:
        """Calls a function when the attributes are restored.

        Args:
            undo: Takes back what was changed apart from attributes.
        """
        self._undo.append(undo)

    def restore(self) -> None:
        """Puts the identical original objects back, the last replaced first."""
        while self._replaced:
            owner, name, original, replacement = self._replaced.pop()
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)
            elif vars(owner).get(name) is not original:
                # Another library has wrapped our function since. Ours stays below it and passes calls through.
                log.debug("%s.%s was replaced by another library and is not restored", owner, name)
        while self._imported:
            original, replacement = self._imported.pop()
            _replace_everywhere(replacement, original)
        while self._undo:
            self._undo.pop()()

    def _known(self, found: object) -> tuple[object, object] | None:
        """The original and the replacement of a function that was replaced elsewhere before."""
        if not isinstance(found, FunctionType):
            return None
        for replaced in self._replaced:
            if found is replaced.original or found is replaced.replacement:
                return replaced.original, replaced.replacement
        return None


def _replace_everywhere(found: object, replacement: object) -> None:
    """Replaces a function in all loaded modules that hold it."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name in [name for name, value in list(vars(module).items()) if value is found]:
                setattr(module, name, replacement)


def _replacement(original: Any, make: Callable[[Any], Any]) -> Any:
    """Returns the replacement, of the same type as the original: a class method, or a function of `wrapt`, included."""
    if isinstance(original, (classmethod, staticmethod)):
        return type(original)(_replacement(original.__func__, make))
    if type(original) is wrapt.FunctionWrapper:
        return wrapt.FunctionWrapper(_replacement(original.__wrapped__, make), original._self_wrapper)  # noqa: SLF001 -- shown nowhere else
    replacement = make(original)
    if isinstance(original, FunctionType) and isinstance(replacement, FunctionType):
        # `functools.wraps` copies the rest. Both functions take any argument, so Python does not use the defaults.
        replacement.__defaults__, replacement.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    return replacement
