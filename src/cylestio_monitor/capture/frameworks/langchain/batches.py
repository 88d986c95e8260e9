"""Batches of a LangChain sequence: one workflow for each input.

A sequence runs a batch step by step, and each step spreads its inputs over threads or tasks. The workflow of an input
is the current span there, so that what a step does for the input is inside the right one.
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture import call_wrappers, control_flow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from cylestio_monitor.pipeline import Invocation

_runs: ContextVar[list[Invocation | None] | None] = ContextVar("cylestio_langchain_batch", default=None)
"""The workflows of the batch that is under way, one for each input; `None` for an input that is not observed."""


def around_batch(make: call_wrappers.MakeOf) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator for `batch(inputs, config)`.

    Args:
        make: Reads the call of one input, as that of `invoke(input, config)`.
    """

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def batch(*args: Any, **kwargs: Any) -> Any:
            runs = _begin(make, args, kwargs)
            token = _runs.set(runs)
            try:
                with _alone(runs):
                    answers = original(*args, **kwargs)
            except BaseException as error:
                _fail(runs, error)
                raise
            finally:
                _runs.reset(token)
            _end(runs, answers)
            return answers

        return batch

    return wrap


def around_batch_async(make: call_wrappers.MakeOf) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator for `abatch(inputs, config)`."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def abatch(*args: Any, **kwargs: Any) -> Any:
            runs = _begin(make, args, kwargs)
            token = _runs.set(runs)
            try:
                with _alone(runs):
                    answers = await original(*args, **kwargs)
            except BaseException as error:
                _fail(runs, error)
                raise
            finally:
                _runs.reset(token)
            _end(runs, answers)
            return answers

        return abatch

    return wrap


def spread_over_threads(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `ContextThreadPoolExecutor.map`, which calls a step for each input of a batch."""

    @functools.wraps(original)
    def map_(*args: Any, **kwargs: Any) -> Any:
        runs = _runs.get()
        if runs is None or len(args) < 3 or len(args[2]) != len(runs):
            return original(*args, **kwargs)
        executor, function, *iterables = args

        def call(run: Invocation | None, *items: Any) -> Any:
            _runs.set(None)  # in the copy of the context that the thread has
            if run is None:
                return function(*items)
            with call_wrappers.Inside(run):
                return function(*items)

        return original(executor, call, runs, *iterables, **kwargs)

    return map_


def spread_over_tasks(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `gather_with_concurrency`, which awaits a step for each input of a batch."""

    @functools.wraps(original)
    async def gather(*args: Any, **kwargs: Any) -> Any:
        runs = _runs.get()
        if runs is None or len(args) != len(runs) + 1:
            return await original(*args, **kwargs)
        limit, *awaitables = args
        return await original(limit, *map(_inside, runs, awaitables), **kwargs)

    return gather


async def _inside(run: Invocation | None, awaitable: Any) -> Any:
    _runs.set(None)  # in the copy of the context that the task has
    if run is None:
        return await awaitable
    with call_wrappers.Inside(run):
        return await awaitable


def _begin(make: call_wrappers.MakeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Invocation | None]:
    inputs = args[1] if len(args) > 1 else kwargs.get("inputs")
    config = args[2] if len(args) > 2 else kwargs.get("config")
    if not isinstance(inputs, list) or not args:
        return []
    configs: Sequence[Any] = config if isinstance(config, (list, tuple)) else [config] * len(inputs)
    return [
        call_wrappers.begin(functools.partial(make, args[0], pair, {})) for pair in zip(inputs, configs, strict=False)
    ]


def _alone(runs: list[Invocation | None]) -> AbstractContextManager[None]:
    """Makes the workflow of a batch of one the current span: such a batch is not spread."""
    return call_wrappers.Inside(runs[0]) if len(runs) == 1 and runs[0] is not None else nullcontext()


def _fail(runs: list[Invocation | None], error: BaseException) -> None:
    for run in runs:
        if run is not None:
            control_flow.end_raised(run, None, error)


def _end(runs: list[Invocation | None], answers: Any) -> None:
    for run, answer in zip(runs, answers, strict=False):
        if run is None:
            continue
        if isinstance(answer, BaseException):  # the caller asked for exceptions in place of answers
            control_flow.end_raised(run, None, answer)
        else:
            run.end()
