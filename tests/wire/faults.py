"""What can go wrong between a client and a provider."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """An error status with the provider's error body."""

    code: int
    headers: dict[str, str] = field(default_factory=lambda: {"retry-after-ms": "1"})


@dataclass(frozen=True)
class Broken:
    """The connection is cut after this many events; 0 cuts before any byte of the answer."""

    after: int = 0


@dataclass(frozen=True)
class ErrorEvent:
    """The provider reports an error inside the stream, after this many events."""

    after: int = 2


@dataclass(frozen=True)
class Hang:
    """Nothing more comes after this many events, until the server is closed or `seconds` are over."""

    after: int = 0
    seconds: float = 30.0


Fault = Status | Broken | ErrorEvent | Hang


def parse(text: str) -> Fault:
    """A fault from its short form, such as `status=429`, `broken=3`, `error=2` or `hang=0`.

    Clients in other processes ask for it with the header `x-wire-fault`.
    """
    kind, _, number = text.partition("=")
    kinds = {"status": Status, "broken": Broken, "error": ErrorEvent, "hang": Hang}
    return kinds[kind](int(number or 0))
