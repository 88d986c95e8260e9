"""The `tool` decorator: calls of an agent's own functions get a span, a scan and, in block mode, a refusal."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from cylestio_monitor import runtime, semconv
from cylestio_monitor.capture import event_loop
from cylestio_monitor.govern.redaction.redactor import UNCHANGED
from cylestio_monitor.model import Call, Message, Part, Result
from cylestio_monitor.pipeline import current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from cylestio_monitor.pipeline import Invocation

F = TypeVar("F", bound="Callable[..., Any]")

_WHOLE: Final = frozenset({"arguments", "results"})
_GENERATED: Final = frozenset({"arguments"})

MAX_ITEMS: Final = 10_000
"""Most items of a generator that are scanned."""
MAX_CHARS: Final = 4_000_000
"""Longest text of a generator that is scanned, in code points."""


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, name: str | None = None, description: str | None = None) -> Callable[[F], F]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None, description: str | None = None
) -> Any:
    """Makes each call of a function one ``execute_tool`` span with its arguments and its result scanned.

    Takes functions, coroutine functions, generator functions and asynchronous generator functions, and methods of
    these kinds. The function keeps its kind, signature and documentation. While monitoring is off it is called as is.

    Example:
        >>> @tool
        ... def add(a: int, b: int) -> int:
        ...     return a + b
        >>> add(2, 3)
        5

    Args:
        function: The function, where the decorator is used without parentheses.
        name: The tool's name; the function's own where none is given.
        description: What the tool does, for the span; the first line of its documentation where none is given.

    Raises:
        BlockedError: From the decorated function: blocking is on and policy refuses the arguments; it did not run.
        TypeError: What is decorated cannot be called.
    """
    if function is None:
        return functools.partial(_decorate, name=name, description=description)
    return _decorate(function, name=name, description=description)


def _decorate(function: Any, *, name: str | None, description: str | None) -> Any:
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(_decorate(function.__func__, name=name, description=description))
    if not callable(function):
        raise TypeError(f"tool decorates functions, not {type(function).__name__}")
    observed = _Tool(function, name, description)
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, observed)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, observed)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, observed)
    else:
        wrapper = _function(function, observed)
    return functools.wraps(function)(wrapper)


class _Tool:
    """A decorated function of any kind: its name, its description, and how to read its arguments."""

    def __init__(self, function: Callable[..., Any], name: str | None, description: str | None) -> None:
        self._function = function
        self._name = name or getattr(function, "__name__", None) or type(function).__name__
        if description is None:
            description = (inspect.getdoc(function) or "").partition("\n")[0]
        self._description = description

    def begin(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_whole: bool
    ) -> tuple[Invocation | None, tuple[Any, ...], dict[str, Any]]:
        """Starts the span.

        Args:
            args: The positional arguments.
            kwargs: The named arguments.
            is_whole: Whether the function returns its result as a whole, and does not generate it.

        Returns:
            The call, `None` while monitoring is off, and the arguments that the function gets.

        Raises:
            BlockedError: Policy refuses the call.
        """
        pipeline = current()
        if pipeline is None:
            return None, args, kwargs
        call = Call(
            operation="execute_tool",
            name=f"execute_tool {self._name}",
            kind="internal",
            tool_name=self._name,
            arguments=self._bind(args, kwargs),
            attributes={semconv.TOOL_TYPE: "function"},
            changes=_WHOLE if is_whole else _GENERATED,
            withholds=is_whole,
        )
        if self._description:
            call.attributes[semconv.TOOL_DESCRIPTION] = self._description
        invocation = pipeline.begin(call)
        changed: Any = invocation.arguments if invocation.redacts else UNCHANGED
        if changed is not UNCHANGED:
            args, kwargs = self._rebind(args, kwargs, changed)
        return invocation, args, kwargs

    def _rebind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], changed: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns the arguments with the changed ones in place of those that `_bind` has named."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except (TypeError, ValueError):  # as of `_bind`
            return tuple(changed["args"]), {name: value for name, value in changed.items() if name != "args"}
        if self._others in bound.arguments and self._others not in changed:
            known = self._signature.parameters
            others = {name: value for name, value in changed.items() if name not in known}
            changed = {**{name: value for name, value in changed.items() if name in known}, self._others: others}
        bound.arguments.update(changed)
        return bound.args, bound.kwargs

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments by name, without the object that a method belongs to.

        What the function takes as ``**kwargs`` stands beside its other arguments, as a model or a client names it.
        """
        try:
            named = dict(self._signature.bind(*args, **kwargs).arguments)
        except (TypeError, ValueError):  # the call will fail, or the function does not say what it takes
            return {"args": list(args), **kwargs}
        if self._owner in named:
            del named[self._owner]
        others = named.get(self._others)
        if others is None or not others.keys().isdisjoint(self._signature.parameters):
            return named
        del named[self._others]
        return {**named, **others}

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @functools.cached_property
    def _others(self) -> str:
        """Name of the parameter that takes all other named arguments; empty where there is none."""
        parameters = self._signature.parameters.values()
        return next((one.name for one in parameters if one.kind is inspect.Parameter.VAR_KEYWORD), "")

    @functools.cached_property
    def _owner(self) -> str:
        """Name of the parameter that receives the object of a method; empty for a function."""
        first = next(iter(self._signature.parameters), "")
        in_class = getattr(self._function, "__qualname__", "").rpartition(".")[0]
        return first if first in {"self", "cls"} and in_class and not in_class.endswith("<locals>") else ""


def _function(function: Callable[..., Any], observed: _Tool) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        invocation, args, kwargs = observed.begin(args, kwargs, is_whole=True)
        if invocation is None:
            return function(*args, **kwargs)
        invocation.wait_durable()
        with invocation.attached():
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                invocation.end(error=error)
                raise
        result = _finished(invocation, result)
        invocation.wait_durable()
        return result

    return wrapper


def _end_cancelled(begun: tuple[Invocation | None, Any, Any]) -> None:
    event_loop.end_cancelled(begun[0])


def _coroutine(function: Callable[..., Any], observed: _Tool) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        start = functools.partial(observed.begin, args, kwargs, is_whole=True)
        invocation, args, kwargs = await event_loop.begun(start, args, kwargs, abandoned=_end_cancelled)
        if invocation is None:
            return await function(*args, **kwargs)
        try:
            await invocation.wait_durable_async()
            with invocation.attached():
                result = await function(*args, **kwargs)
        except BaseException as error:
            invocation.end(error=error)
            raise
        result = await event_loop.ended(functools.partial(_finished, invocation, result), result)
        await invocation.wait_durable_async()
        return result

    return wrapper


def _generator(function: Callable[..., Any], observed: _Tool) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        invocation, args, kwargs = observed.begin(args, kwargs, is_whole=False)
        if invocation is None:
            return (yield from function(*args, **kwargs))
        invocation.wait_durable()
        inner, items = function(*args, **kwargs), _Items(invocation)
        step: Callable[[], Any] = functools.partial(next, inner)
        while True:
            # The span is current while the function runs, and never while its caller does.
            with invocation.attached():
                try:
                    item = step()
                except StopIteration as stop:
                    invocation.end(items.result())
                    return stop.value
                except BaseException as error:
                    invocation.end(items.result(), error)
                    raise
            items.add(item)
            try:
                sent = yield item
            except GeneratorExit:
                _close(inner, invocation, items)
                raise
            except BaseException as error:  # noqa: BLE001 -- an exception that the caller throws in is the function's
                step = functools.partial(inner.throw, error)
            else:
                step = functools.partial(inner.send, sent)

    return wrapper


def _close(inner: Generator[Any, Any, Any], invocation: Invocation, items: _Items) -> None:
    """Closes an abandoned generator; the garbage collector may call this."""
    try:
        inner.close()
    finally:
        invocation.abandon(items.result())


def _async_generator(function: Callable[..., Any], observed: _Tool) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        invocation, args, kwargs = observed.begin(args, kwargs, is_whole=False)
        inner = function(*args, **kwargs)
        items = _Items(invocation) if invocation is not None else None
        step = inner.__anext__()
        while True:
            try:
                item = await _step(step, invocation)
            except StopAsyncIteration:
                if invocation is not None and items is not None:
                    invocation.end(items.result())
                return
            except BaseException as error:
                if invocation is not None and items is not None:
                    invocation.end(items.result(), error)
                raise
            if items is not None:
                items.add(item)
            try:
                sent = yield item
            except GeneratorExit:
                try:
                    await inner.aclose()
                finally:
                    if invocation is not None and items is not None:
                        invocation.abandon(items.result())
                raise
            except BaseException as error:  # noqa: BLE001 -- an exception that the caller throws in is the function's
                step = inner.athrow(error)
            else:
                step = inner.asend(sent)

    return wrapper


async def _step(step: Any, invocation: Invocation | None) -> Any:
    if invocation is None:
        return await step
    await invocation.wait_durable_async()
    with invocation.attached():
        return await step


def _finished(invocation: Invocation, result: Any) -> Any:
    """Ends a call, and returns its result as it may be handed over.

    Raises:
        BlockedError: A moderator or the policy refuses the result.
    """
    if invocation.redacts:
        return invocation.finish_with(result, Result(response=result))
    invocation.end(Result(response=result), enforce=True)
    return result


class _Items:
    """The items that a generator gave, kept within bounds until they are scanned as a whole."""

    __slots__ = ("__weakref__", "_chars", "_invocation", "_is_cut", "_items")

    def __init__(self, invocation: Invocation) -> None:
        """Starts without items."""
        self._invocation = invocation
        self._items: list[Any] = []
        self._chars = 0
        self._is_cut = False
        runtime.open_calls.add(self)

    def add(self, item: Any) -> None:
        """Takes the next item."""
        size = len(item) if isinstance(item, (str, bytes)) else 1
        if len(self._items) < MAX_ITEMS and self._chars + size <= MAX_CHARS:
            self._items.append(item)
            self._chars += size
        else:
            self._is_cut = True

    def result(self) -> Result:
        """Returns the items as the result of the tool; one that says so where not all of them were kept."""
        # Pieces of one text are scanned as one: a match may lie across two of them.
        is_text = bool(self._items) and all(isinstance(item, str) for item in self._items)
        result = Result(response="".join(self._items) if is_text else self._items)
        if self._is_cut:
            result.messages = [Message("tool", [Part("unreadable", "generator length", path="result")])]
        return result

    def left_open(self) -> None:
        """Ends the call because the process ends."""
        self._invocation.end(self.result())
