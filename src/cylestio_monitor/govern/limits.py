"""Limits on calls, tokens and cost, counted by the library `limits` in memory, in Redis or in the local store."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from cylestio_monitor.govern.history import subject_of
from cylestio_monitor.govern.policy.conditions import fits_tool, matcher
from cylestio_monitor.govern.policy.document import SECONDS, Period, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cylestio_monitor.govern.facts import CallFacts

Measure: TypeAlias = Literal["calls", "tokens", "cost"]

_MICRO: Final = 1_000_000  # cost is counted in millionths, because the library counts whole numbers


class Limit(NamedTuple):
    """One limit.

    Attributes:
        name: Its name in findings and errors.
        measure: Calls, tokens, or cost in the currency of the price list.
        amount: The most of it within the period.
        per: The period.
        by: Calls with the same value of this are counted together.
        tool: Only calls of these tools count, as ``server/tool`` or ``tool``, ``*`` is any run of characters; empty for
            all calls.
    """

    name: str
    measure: Measure
    amount: float
    per: Period
    by: Subject
    tool: str = ""


class Exceeded(NamedTuple):
    """A limit that a call exceeds.

    Attributes:
        limit: The limit.
        retry_after: Seconds until a call fits again.
    """

    limit: Limit
    retry_after: float


class Price(NamedTuple):
    """The price of a model in currency units for a million tokens."""

    input: float
    output: float


class CounterStorage(Protocol):
    """A storage of the library `limits`."""

    def get(self, key: str) -> int:
        """The count of a key."""


class CallLimiter:
    """Counts calls against limits."""

    def __init__(self, limits: Sequence[Limit], storage: CounterStorage | str = "memory://") -> None:
        """Takes the limits and where they are counted.

        Args:
            limits: The limits.
            storage: A storage of the library, or the URI of one, such as ``redis://127.0.0.1:6379``.

        Raises:
            ValueError: The library, or what the storage needs, is not installed.
        """
        try:
            from limits import storage as storages  # noqa: PLC0415 -- only where there are limits
            from limits import strategies  # noqa: PLC0415 -- as above
        except ImportError as error:
            raise ValueError("limits need: pip install 'cylestio-monitor[control]'") from error
        self._limits = tuple(limits)
        self._tools = {limit.tool: matcher(limit.tool) for limit in self._limits if limit.tool}
        kept: Any = storages.storage_from_string(storage) if isinstance(storage, str) else storage
        self._windows: Any = strategies.MovingWindowRateLimiter(kept)
        self._sums: Any = strategies.FixedWindowRateLimiter(kept)

    def _covers(self, limit: Limit, facts: CallFacts) -> bool:
        return not limit.tool or fits_tool(self._tools[limit.tool], facts)

    @property
    def measures(self) -> frozenset[Measure]:
        """The measures that the limits count."""
        return frozenset(limit.measure for limit in self._limits)

    def before(self, facts: CallFacts) -> Exceeded | None:
        """Counts a tool call that is about to happen, or tests a model call; the first limit exceeded, or ``None``."""
        for limit in self._limits:
            if not self._covers(limit, facts) or (limit.measure == "calls" and not facts.tool):
                continue
            item, subject = _item(limit), subject_of(limit.by, facts)
            if limit.measure == "calls":
                fits, counter = self._windows.hit(item, limit.name, subject), self._windows
            else:
                fits, counter = self._sums.test(item, limit.name, subject), self._sums
            if not fits:
                reset = counter.get_window_stats(item, limit.name, subject).reset_time
                return Exceeded(limit, max(0.0, reset - time.time()))
        return None

    def after(self, facts: CallFacts) -> None:
        """Adds what a call used, once that is known."""
        for limit in self._limits:
            used = facts.tokens if limit.measure == "tokens" else round(facts.cost * _MICRO)
            if limit.measure != "calls" and used > 0 and self._covers(limit, facts):
                self._sums.hit(_item(limit), limit.name, subject_of(limit.by, facts), cost=used)


class UnusableLimiter(CallLimiter):
    """Stands for limits that cannot be counted: no call can be judged, which mode ``block`` refuses."""

    def __init__(self, limits: Sequence[Limit], reason: str) -> None:
        """Takes the limits, and why they cannot be counted."""
        self._limits = tuple(limits)
        self._reason = reason

    def before(self, facts: CallFacts) -> Exceeded | None:  # noqa: ARG002 -- no call is within these limits
        """Raises `ValueError` about every call."""
        raise ValueError(self._reason)

    def after(self, facts: CallFacts) -> None:
        """Counts nothing."""


def cost_of(model: str, input_tokens: int, output_tokens: int, prices: Mapping[str, Price]) -> float:
    """The cost of a call; 0 for a model without a price.

    Args:
        model: The model's name; the longest name of the list that it begins with gives the price.
        input_tokens: Tokens of the input.
        output_tokens: Tokens of the output.
        prices: Prices by model.
    """
    price = price_of(model, prices)
    return 0.0 if price is None else (input_tokens * price.input + output_tokens * price.output) / 1_000_000


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of a model: that of the longest name that the model's name begins with."""
    name = max((name for name in prices if model.startswith(name)), key=len, default=None)
    return prices[name] if name is not None else None


@lru_cache(maxsize=1024)
def _item(limit: Limit) -> Any:
    from limits import RateLimitItemPerSecond  # noqa: PLC0415 -- as above

    amount = round(limit.amount * _MICRO) if limit.measure == "cost" else int(limit.amount)
    return RateLimitItemPerSecond(amount, SECONDS[limit.per], namespace="cylestio")
