"""Hooks an SDK and prints how each replaced attribute differs from its original, apart from being monitored.

Run in an environment that has the SDK: ``hook_effects.py SDK``. The last line is JSON: the number of replaced
attributes, the state, the differences, and the attributes that `uninstrument` did not restore.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import inspect
import json
import pickle
import sys
from typing import Any

from cylestio_monitor.capture import registry

KINDS = (
    inspect.isfunction,
    inspect.ismethod,
    inspect.isroutine,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
    inspect.isclass,
    callable,
)
NAMES = ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__defaults__", "__kwdefaults__")


def outcome(work: Any) -> str:
    """What a call returns, by its type, or the type and the text of what it raises."""

    async def drain(items: Any) -> str:
        async for _ in items:
            break
        return "items"

    async def finish(awaitable: Any) -> Any:
        return await awaitable

    try:
        answer = work()
        if inspect.isasyncgen(answer):
            return asyncio.run(drain(answer))
        if inspect.isgenerator(answer):
            return f"items {next(answer, None)!r:.20}"
        if inspect.isawaitable(answer):
            answer = asyncio.run(finish(answer))
    except Exception as error:  # noqa: BLE001 -- whatever it is: both have to raise the same
        return f"{type(error).__qualname__}: {error}"
    return type(answer).__qualname__


def seen(value: Any, function: Any) -> dict[str, str]:
    """What Python's own tools say of an object.

    Args:
        value: The object in the namespace of its owner.
        function: The object as an application gets it.
    """
    facts = {"type": type(value).__qualname__, "mro": str(type(function).__mro__)}
    facts |= {kind.__name__: str(kind(function)) for kind in KINDS}
    facts |= {name: repr(getattr(function, name, None)) for name in NAMES}
    facts["signature"] = outcome_of(lambda: str(inspect.signature(function)))
    facts["doc"] = outcome_of(lambda: str(inspect.getdoc(function)))
    facts["pickle"] = outcome_of(lambda: "same" if pickle.loads(pickle.dumps(function)) == function else "other")
    facts["copy"] = outcome_of(lambda: "same" if copy.copy(function) == function else "other")
    facts["deepcopy"] = outcome_of(lambda: "same" if copy.deepcopy(function) == function else "other")
    if callable(function) and not isinstance(function, type):
        facts["no argument"] = outcome(function)
        facts["surprise"] = outcome(lambda: function(cylestio_surprise=1))
    return facts


def outcome_of(work: Any) -> str:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 -- whatever it is: both have to raise the same
        return f"{type(error).__qualname__}: {error}"


def main() -> None:
    sdk = sys.argv[1]
    present = []
    # One package stands for all that are recognised by their shape.
    for name in ["groq._base_client"] if sdk == "stainless" else registry.SDKS[sdk].modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
            present.append(name)
    instrumentor = registry.instrumentor_class(sdk)()
    instrumentor.instrument(skip_dep_check=True)
    replaced = list(instrumentor._patches._replaced)
    instrumentor.uninstrument()
    before = {number: facts_of(one) for number, one in enumerate(replaced)}
    instrumentor.instrument(skip_dep_check=True)
    state, differences = instrumentor.state, []
    for number, one in enumerate(replaced):
        place = f"{getattr(one.owner, '__qualname__', one.owner.__name__)}.{one.name}"
        for fact, value in facts_of(one).items():
            if value != before[number][fact]:
                differences.append([place, fact, before[number][fact], value])
    instrumentor.uninstrument()
    left = [one.name for one in replaced if vars(one.owner)[one.name] is not one.original]
    print(
        json.dumps(
            {"targets": len(replaced), "modules": present, "state": state, "differences": differences, "left": left}
        )
    )


def facts_of(one: Any) -> dict[str, str]:
    facts = seen(vars(one.owner)[one.name], getattr(one.owner, one.name))
    facts["identity"] = str(getattr(one.owner, one.name) is getattr(one.owner, one.name))
    return facts


if __name__ == "__main__":
    main()
