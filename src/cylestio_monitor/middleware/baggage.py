"""The identity in W3C baggage: sent by choice of the application, taken from trusted callers only.

User, roles and session travel; the agent does not, as the agent of the caller is not that of the callee.
"""

from __future__ import annotations

import functools
import ipaddress
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, unquote

from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator

from cylestio_monitor import identity, runtime, sanitize, semconv
from cylestio_monitor.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX_SOCKET: Final = "unix"
"""The entry of `identity.trusted_callers` for callers without an address."""

MAX_HEADER: Final = 8192
"""Longest ``baggage`` header that is read, in bytes; the limit of the W3C recommendation."""

MAX_CHARACTERS: Final = 256
"""Longest user, session and role. A longer one is left out: a name that is cut may be another's."""

MAX_ROLES: Final = 32

_ROLES: Final = "cylestio.user.roles"
_NAMES: Final = (semconv.ENDUSER_ID, semconv.CYLESTIO_SESSION_ID, _ROLES)


@contextmanager
def identity_baggage() -> Iterator[None]:
    """Lets requests that are sent inside the block carry user, roles and session of this context as W3C baggage.

    Clients that OpenTelemetry instruments send the header themselves; `opentelemetry.propagate.inject(headers)` adds it
    for others. Use it around requests to services of your own: everybody who is called inside the block gets the names.
    """
    who = identity.current()
    values = {
        semconv.ENDUSER_ID: _clean(who.user_id),
        semconv.CYLESTIO_SESSION_ID: _clean(who.session_id),
        _ROLES: ",".join(quote(role, safe="") for role in _clean_roles(who.roles)),
    }
    context = otel_context.get_current()
    for name, value in values.items():
        context = baggage.set_baggage(name, value, context) if value else baggage.remove_baggage(name, context)
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def received(header: str, client: str | None) -> Identity | None:
    """Returns what a trusted caller says about user, roles and session; ``None`` where nobody trusted says anything.

    Args:
        header: The header ``baggage``.
        client: The address of the caller; ``None`` for a Unix socket.
    """
    if not header or len(header) > MAX_HEADER or not any(name in header for name in _NAMES):
        return None
    pipeline = runtime.get_or_create()
    if pipeline is None or not is_trusted(client, pipeline.settings.identity.trusted_callers):
        return None
    context = W3CBaggagePropagator().extract({"baggage": header}, otel_context.Context())
    said = {name: baggage.get_baggage(name, context) for name in _NAMES}
    roles = [unquote(role) for role in str(said[_ROLES] or "").split(",")]
    return Identity(
        session_id=_clean(said[semconv.CYLESTIO_SESSION_ID]),
        user_id=_clean(said[semconv.ENDUSER_ID]),
        roles=_clean_roles(roles),
    )


def is_trusted(client: str | None, trusted: tuple[str, ...]) -> bool:
    """Returns whether a caller is one of those whose baggage is read.

    Args:
        client: Its address; ``None`` or empty for a Unix socket.
        trusted: Addresses, networks in CIDR notation, and `UNIX_SOCKET`.
    """
    if not trusted:
        return False
    if not client:
        return UNIX_SOCKET in trusted
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:  # a server may report a name, which anybody may choose
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _networks(trusted))


@functools.lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(entry, strict=False) for entry in trusted if entry != UNIX_SOCKET)


def _clean(value: object) -> str | None:
    if not value:
        return None
    text = sanitize.one_line(value, MAX_CHARACTERS * 8).strip()
    return text if 0 < len(text) <= MAX_CHARACTERS else None


def _clean_roles(roles: object) -> tuple[str, ...]:
    """Returns the roles that may be sent or taken; of more than `MAX_ROLES`, the first ones."""
    given = roles if isinstance(roles, (tuple, list)) else ()
    return tuple(clean for role in given[:MAX_ROLES] if (clean := _clean(role)) is not None)
