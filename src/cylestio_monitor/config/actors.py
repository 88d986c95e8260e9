"""The settings about users: who they are and how they sign in."""

from typing import Annotated

import msgspec

from cylestio_monitor.config.section import Section, setting


class IdentitySettings(Section, frozen=True, kw_only=True):
    """The identity of web requests."""

    trusted_callers: Annotated[
        tuple[str, ...],
        setting(
            "Callers whose W3C baggage may name user, roles and session of a request: addresses, networks such as "
            "`10.0.0.0/8`, or `unix` for Unix sockets.",
        ),
    ] = ()


def check_caller(entry: str) -> None:
    """Raises `msgspec.ValidationError` for an entry of `trusted_callers` that no caller can match."""
    import ipaddress  # noqa: PLC0415 -- few settings files name a caller

    try:
        entry == "unix" or ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise msgspec.ValidationError("must be an address, a network such as `10.0.0.0/8`, or `unix`") from None
