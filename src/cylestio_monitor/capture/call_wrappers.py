"""Calls of a framework: the span is the current one exactly while the framework's own code runs.

A framework's function is wrapped, not told by callbacks: what it calls is then inside the span, in the same thread or
task, and nothing stays attached behind it. A generator has the span attached for each of its steps and never across a
`yield`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from cylestio_monitor import semconv
from cylestio_monitor.capture import control_flow
from cylestio_monitor.capture.enclosing_calls import enclosing_calls, hosting_call
from cylestio_monitor.pipeline import current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
    from types import ModuleType, TracebackType

    from cylestio_monitor.model import Call, Result
    from cylestio_monitor.pipeline import Invocation

    Make = Callable[[], Call | None]
    MakeOf = Callable[[Any, tuple[Any, ...], dict[str, Any]], Call | None]
    Read = Callable[[Any], Result]
    Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]

log = logging.getLogger(__name__)

T = TypeVar("T")

enclosing_calls.is_active = True

FRAMES = frozenset({"invoke_agent", "invoke_workflow", "create_agent"})
"""Operations whose content is that of the calls inside them."""


def begin(make: Make) -> Invocation | None:
    """Starts a call; `None` where monitoring is off or the call cannot be read.

    Args:
        make: Reads the call; `None` where it is not to be observed.

    Raises:
        BlockedError: The call is refused.
    """
    pipeline = current()
    if pipeline is None:
        return None
    try:
        call = make()
    except Exception:
        log.debug("Could not read a call", exc_info=True)
        return None
    if call is None:
        return None
    return pipeline.begin(call, is_scanned=call.operation not in FRAMES)


def read(reader: Read | None, answer: object) -> Result | None:
    """What an answer says; `None` where it cannot be read."""
    try:
        return reader(answer) if reader is not None else None
    except Exception:
        log.debug("Could not read an answer", exc_info=True)
        return None


def observe(make: Make, work: Callable[[], T], reader: Read | None = None) -> T:
    """Runs `work` as a call."""
    invocation = begin(make)
    if invocation is None:
        return work()
    invocation.wait_durable()
    with Inside(invocation):
        try:
            answer = work()
        except BaseException as error:
            control_flow.end_raised(invocation, None, error)
            raise
    invocation.end(read(reader, answer))
    return answer


async def observe_async(make: Make, work: Callable[[], Awaitable[T]], reader: Read | None = None) -> T:
    """Awaits `work` as a call."""
    invocation = begin(make)
    if invocation is None:
        return await work()
    await invocation.wait_durable_async()
    with Inside(invocation):
        try:
            answer = await work()
        except BaseException as error:
            control_flow.end_raised(invocation, None, error)
            raise
    invocation.end(read(reader, answer))
    return answer


def steps(make: Make, items: Generator[T, Any, Any], reader: Callable[[list[T]], Result] | None = None) -> Any:
    """A generator of the same items, whose run is one call; it begins with the first item that is asked for."""
    invocation = begin(make)
    if invocation is None:
        return (yield from items)
    seen: list[T] = []
    try:
        while True:
            with Inside(invocation):
                try:
                    item = next(items)
                except StopIteration as stop:
                    invocation.end(read(reader, seen))
                    return stop.value
            if reader is not None:
                seen.append(item)
            invocation.first_chunk()
            yield item
    except GeneratorExit:
        # May be the garbage collector's: then nothing that takes a lock may be done here.
        items.close()
        invocation.abandon(read(reader, seen))
        raise
    except BaseException as error:
        control_flow.end_raised(invocation, read(reader, seen), error)
        raise


async def steps_async(
    make: Make, items: AsyncGenerator[T, Any], reader: Callable[[list[T]], Result] | None = None
) -> AsyncGenerator[T, Any]:
    """The same for an asynchronous generator."""
    invocation = begin(make)
    if invocation is None:
        async for item in items:
            yield item
        return
    async with contextlib.aclosing(_drain_async(invocation, items, reader)) as observed:
        async for item in observed:
            yield item


def rest_async(
    invocation: Invocation, items: AsyncIterator[T], reader: Callable[[list[T]], Result] | None = None
) -> AsyncGenerator[T, Any]:
    """The items of a call that has begun, and with them its end; also where no one ever asks for the first."""
    rest = _drain_async(invocation, items, reader)
    weakref.finalize(rest, invocation.abandon).atexit = False
    return rest


async def _drain_async(
    invocation: Invocation, items: AsyncIterator[T], reader: Callable[[list[T]], Result] | None
) -> AsyncGenerator[T, Any]:
    seen: list[T] = []
    try:
        while True:
            with Inside(invocation):
                try:
                    item = await items.__anext__()
                except StopAsyncIteration:
                    break
            if reader is not None:
                seen.append(item)
            invocation.first_chunk()
            yield item
        invocation.end(read(reader, seen))
    except GeneratorExit:
        invocation.abandon(read(reader, seen))
        if hasattr(items, "aclose"):
            await items.aclose()
        raise
    except BaseException as error:
        control_flow.end_raised(invocation, read(reader, seen), error)
        raise


def around(make: MakeOf, reader: Read | None = None) -> Wrap:
    """Returns a decorator for a method: each of its calls is observed.

    The decorators of this module return a function of the same kind as the method, which raises what the method raises.

    Args:
        make: Reads a call from the object, the positional and the named arguments.
        reader: Reads what the method returned; for a generator, the list of its items.
    """

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not args:  # Python says what is missing
                return original(**kwargs)
            return observe(lambda: make(args[0], args[1:], kwargs), lambda: original(*args, **kwargs), reader)

        return call

    return wrap


def around_async(make: MakeOf, reader: Read | None = None) -> Wrap:
    """Returns a decorator for a method that returns a coroutine."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def call(*args: Any, **kwargs: Any) -> Any:
            if not args:
                return await original(**kwargs)
            return await observe_async(
                lambda: make(args[0], args[1:], kwargs), lambda: original(*args, **kwargs), reader
            )

        return call

    return wrap


def around_steps(make: MakeOf, reader: Read | None = None) -> Wrap:
    """Returns a decorator for a generator method."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            items = original(*args, **kwargs)
            return (yield from steps(lambda: make(args[0], args[1:], kwargs), items, reader))

        return call

    return wrap


def around_steps_async(make: MakeOf, reader: Read | None = None) -> Wrap:
    """Returns a decorator for an asynchronous generator method."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            items = original(*args, **kwargs)
            async with contextlib.aclosing(
                steps_async(lambda: make(args[0], args[1:], kwargs), items, reader)
            ) as observed:
                async for item in observed:
                    yield item

        return call

    return wrap


def is_traced(others: tuple[str, ...]) -> bool:
    """Whether one of these instrumentations of the same framework is switched on: its spans need no second ones.

    Args:
        others: The modules that hold them. OpenLIT imports all of its own, also those that it leaves off.
    """
    return any(_is_on(sys.modules[name]) for name in others if name in sys.modules)


def _is_on(module: ModuleType) -> bool:
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, BaseInstrumentor):
            # Every instrumentor is the one instance of its class; to make it anew would set its options back.
            made = vars(kind).get("_instance")
            if made is not None and made.is_instrumented_by_opentelemetry:
                return True
    return False


class Inside:
    """The call's span as the current one, and its model call as the host of the SDK's, for one block."""

    __slots__ = ("_attached", "_invocation", "_token")

    def __init__(self, invocation: Invocation) -> None:
        """Takes the call; `begin` has started it."""
        self._invocation = invocation
        self._attached = invocation.attached()

    def __enter__(self) -> None:
        hosts = self._invocation.call.operation in semconv.INFERENCE and self._invocation.span is not trace.INVALID_SPAN
        self._token = hosting_call.set(self._invocation if hosts else None)
        self._attached.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._attached.__exit__(kind, error, tb)
        try:
            hosting_call.reset(self._token)
        except ValueError:  # closed in another context than it was entered in: that one has gone
            log.debug("The context of a call had changed hands")
