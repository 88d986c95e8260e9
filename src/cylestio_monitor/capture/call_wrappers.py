"""Calls of a framework: the span is the current one exactly while the framework's own code runs.

A function of the framework is wrapped, instead of using its callbacks: the calls that it makes are then inside the
span, in the same thread or task, and nothing stays attached afterwards. A generator has the span attached for each of
its steps and never across a `yield`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import weakref
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from cylestio_monitor import semconv
from cylestio_monitor.capture import control_flow, event_loop, run_identity
from cylestio_monitor.capture.changed_arguments import finished, passed_arguments
from cylestio_monitor.capture.enclosing_calls import enclosing_calls, hosting_call
from cylestio_monitor.capture.observed_items import FRAMES, ObservedItems
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.pipeline import current, enclosing_agent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
    from types import ModuleType, TracebackType

    from cylestio_monitor.model import Call, Result
    from cylestio_monitor.pipeline import Invocation

    Make = Callable[[], Call | None]
    MakeOf = Callable[[Any, tuple[Any, ...], dict[str, Any]], Call | None]
    Read = Callable[[Any], Result]
    Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]

log = logging.getLogger(__name__)

_CHANGED_TOOL = frozenset({"arguments", "results"})
_CHANGED_MODEL = frozenset({"answers"})
_AGENTS = frozenset({"invoke_agent", "create_agent"})

T = TypeVar("T")

enclosing_calls.is_active = True


def begin(make: Make, *, is_whole: bool = False) -> Invocation | None:
    """Starts a call; `None` where monitoring is off, the call cannot be read, or another instrumentation traces it.

    Args:
        make: Reads the call; `None` where it is not to be observed.
        is_whole: Whether the caller passes changed arguments on, and hands over the answer only after the end.

    Raises:
        BlockedError: The call is refused.
    """
    pipeline = current()
    if pipeline is None:
        return None
    left = _LeftToOthers(can_check=pipeline.settings.mode == "block")
    token = _reading.set(left)
    try:
        call = make()
    except Exception:  # arguments of any shape: the framework's call goes on
        log.debug("Could not read a call", exc_info=True)
        return None
    finally:
        _reading.reset(token)
    if call is None:
        return None
    is_scanned = call.operation not in FRAMES
    if left.is_left:
        if is_scanned:
            pipeline.check(call)
        return None
    if is_whole:
        call.withholds = True
        call.changes = _CHANGED_TOOL if call.tool_name else _CHANGED_MODEL
    with run_identity.of_run(call):
        return pipeline.begin(call, is_scanned=is_scanned)


def observe(
    make: Make,
    work: Callable[..., T],
    reader: Read | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> T:
    """Calls `work` with the given arguments as a call.

    Args:
        make: Reads the call.
        work: The function.
        reader: Reads what it returned.
        args: Its positional arguments.
        kwargs: Its named arguments.

    Raises:
        BlockedError: The call, or a tool call that its answer asks for, is refused.
    """
    invocation = begin(make, is_whole=True)
    if invocation is None:
        return work(*args, **kwargs)
    args, kwargs = passed_arguments(invocation, args, kwargs)
    invocation.wait_durable()
    with Inside(invocation):
        try:
            answer = work(*args, **kwargs)
        except BaseException as error:
            control_flow.end_raised(invocation, None, error)
            raise
    answer = finished(invocation, answer, reader)
    invocation.wait_durable()
    return answer


async def observe_async(
    make: Make,
    work: Callable[..., Awaitable[T]],
    reader: Read | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> T:
    """Awaits `work` as a call; takes and raises what `observe` does."""
    start = functools.partial(begin, make, is_whole=True)
    invocation = await event_loop.begun(start, args, kwargs, abandoned=event_loop.end_cancelled)
    if invocation is None:
        return await work(*args, **kwargs)
    args, kwargs = passed_arguments(invocation, args, kwargs)
    await invocation.wait_durable_async()
    with Inside(invocation):
        try:
            answer = await work(*args, **kwargs)
        except BaseException as error:
            control_flow.end_raised(invocation, None, error)
            raise
    answer = await event_loop.ended(functools.partial(finished, invocation, answer, reader), answer)
    await invocation.wait_durable_async()
    return answer


def steps(
    make: Make,
    items: Generator[T, Any, Any],
    reader: Callable[[list[T]], Result] | None = None,
    signal: control_flow.Signal | None = None,
) -> Any:
    """Returns a generator of the same items, whose run is one call; it begins when the first item is asked for.

    Args:
        make: Reads the call.
        items: The generator that is run.
        reader: Reads the answer from all items.
        signal: Returns whether an item says that the run is paused or handed over.

    Raises:
        BlockedError: The call, or a tool call that its answer asks for, is refused.
    """
    invocation = begin(make)
    if invocation is None:
        return (yield from items)
    seen = ObservedItems(invocation, reader, signal)
    try:
        while True:
            with Inside(invocation):
                try:
                    item = next(items)
                except StopIteration as stop:
                    seen.end()
                    invocation.wait_durable()
                    return stop.value
            seen.add(item)
            yield item
    except GeneratorExit:
        # The garbage collector may close this generator: then nothing that takes a lock may be done here.
        items.close()
        invocation.abandon(seen.result())
        raise
    except BaseException as error:
        items.close()  # open only if the item that it gave is refused
        control_flow.end_raised(invocation, seen.result(), error)
        raise


async def steps_async(
    make: Make,
    items: AsyncGenerator[T, Any],
    reader: Callable[[list[T]], Result] | None = None,
    signal: control_flow.Signal | None = None,
) -> AsyncGenerator[T, Any]:
    """Returns an asynchronous generator of the same items; takes and raises what `steps` does."""
    invocation = begin(make)
    if invocation is None:
        async for item in items:
            yield item
        return
    async with contextlib.aclosing(_drain_async(invocation, items, reader, signal)) as observed:
        async for item in observed:
            yield item


def rest_async(
    invocation: Invocation, items: AsyncIterator[T], reader: Callable[[list[T]], Result] | None = None
) -> AsyncGenerator[T, Any]:
    """Returns the items of a call that has begun; the call ends with them, and also if no item is ever asked for."""
    rest = _drain_async(invocation, items, reader)
    weakref.finalize(rest, invocation.abandon).atexit = False
    return rest


async def _drain_async(
    invocation: Invocation,
    items: AsyncIterator[T],
    reader: Callable[[list[T]], Result] | None,
    signal: control_flow.Signal | None = None,
) -> AsyncGenerator[T, Any]:
    seen = ObservedItems(invocation, reader, signal)
    try:
        while True:
            with Inside(invocation):
                try:
                    item = await items.__anext__()
                except StopAsyncIteration:
                    break
            seen.add(item)
            yield item
        seen.end()
        await invocation.wait_durable_async()
    except GeneratorExit:
        invocation.abandon(seen.result())
        if hasattr(items, "aclose"):
            await items.aclose()
        raise
    except BaseException as error:
        if isinstance(error, BlockedError) and hasattr(items, "aclose"):
            await items.aclose()
        control_flow.end_raised(invocation, seen.result(), error)
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
            return observe(lambda: make(args[0], args[1:], kwargs), original, reader, args, kwargs)

        return call

    return wrap


def around_async(make: MakeOf, reader: Read | None = None) -> Wrap:
    """Returns a decorator for a method that returns a coroutine."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def call(*args: Any, **kwargs: Any) -> Any:
            if not args:
                return await original(**kwargs)
            return await observe_async(lambda: make(args[0], args[1:], kwargs), original, reader, args, kwargs)

        return call

    return wrap


def around_steps(make: MakeOf, reader: Read | None = None, signal: control_flow.Signal | None = None) -> Wrap:
    """Returns a decorator for a generator method."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            items = original(*args, **kwargs)
            return (yield from steps(lambda: make(args[0], args[1:], kwargs), items, reader, signal))

        return call

    return wrap


def around_steps_async(make: MakeOf, reader: Read | None = None, signal: control_flow.Signal | None = None) -> Wrap:
    """Returns a decorator for an asynchronous generator method."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            items = original(*args, **kwargs)
            async with contextlib.aclosing(
                steps_async(lambda: make(args[0], args[1:], kwargs), items, reader, signal)
            ) as observed:
                async for item in observed:
                    yield item

        return call

    return wrap


class _LeftToOthers:
    """The call that is read now may be left to another instrumentation.

    Attributes:
        can_check: Blocking is on: the call is read nevertheless, and refused where policy says so.
        is_left: Another instrumentation makes the span of the call.
    """

    __slots__ = ("can_check", "is_left")

    def __init__(self, *, can_check: bool) -> None:
        """Starts with a call of our own."""
        self.can_check = can_check
        self.is_left = False


_reading: ContextVar[_LeftToOthers | None] = ContextVar("cylestio_reading", default=None)
"""The call that `begin` reads now."""


def is_traced(others: tuple[str, ...]) -> bool:
    """Returns whether a call need not be read because another instrumentation of the framework makes its span.

    In block mode the call is read, and `begin` only refuses it or leaves it to the other instrumentation.

    Args:
        others: The modules of the other instrumentations. OpenLIT imports all of its own, also those that are off.
    """
    if not any(_is_on(sys.modules[name]) for name in others if name in sys.modules):
        return False
    reading = _reading.get()
    if reading is None or not reading.can_check:
        return True
    reading.is_left = True
    return False


def _is_on(module: ModuleType) -> bool:
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, BaseInstrumentor):
            # Every instrumentor is the one instance of its class; to make it anew would set its options back.
            made = vars(kind).get("_instance")
            if made is not None and made.is_instrumented_by_opentelemetry:
                return True
    return False


class Inside:
    """A context manager: the span of a call is the current one, and a model call encloses that of an SDK."""

    __slots__ = ("_agent", "_attached", "_identity", "_invocation", "_token")

    def __init__(self, invocation: Invocation) -> None:
        """Takes the call; `begin` has started it."""
        self._invocation = invocation
        self._attached = invocation.attached()
        self._identity = run_identity.of_run(invocation.call)

    def __enter__(self) -> None:
        hosts = self._invocation.call.operation in semconv.INFERENCE and self._invocation.span is not trace.INVALID_SPAN
        self._token = hosting_call.set(self._invocation if hosts else None)
        is_agent = self._invocation.call.operation in _AGENTS
        self._agent = enclosing_agent.set(self._invocation) if is_agent else None
        self._attached.__enter__()
        self._identity.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._identity.__exit__(kind, error, tb)
        self._attached.__exit__(kind, error, tb)
        try:
            hosting_call.reset(self._token)
            if self._agent is not None:
                enclosing_agent.reset(self._agent)
        except ValueError:  # closed in another context than it was entered in: that one has gone
            log.debug("A call ended in another context than it began in")
