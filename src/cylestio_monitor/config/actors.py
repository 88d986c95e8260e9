"""The settings about users: who they are and how they sign in."""

from typing import Annotated

from cylestio_monitor.config.section import Section, setting


def _check_caller(entry: str) -> None:
    """Raises `ValueError` for an entry of `trusted_callers` that no caller can match."""
    import ipaddress  # noqa: PLC0415 -- few settings files name a caller

    try:
        entry == "unix" or ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise ValueError("must be an address, a network such as `10.0.0.0/8`, or `unix`") from None


class IdentitySettings(Section, frozen=True, kw_only=True):
    """The identity of web requests."""

    trusted_callers: Annotated[
        tuple[str, ...],
        setting(
            "Callers whose W3C baggage may name user, roles and session of a request: addresses, networks such as "
            "`10.0.0.0/8`, or `unix` for Unix sockets.",
            check=_check_caller,
        ),
    ] = ()


class AuthenticationSettings(Section, frozen=True, kw_only=True):
    """Conclusions from events of type `user_authentication`."""

    window_s: Annotated[
        int, setting("Seconds within which sign-ins are counted together.", local="greater", ge=1, le=86_400)
    ] = 600
    failures: Annotated[
        int, setting("Failed sign-ins of one user within the window that are a finding; 0 for none.", ge=0, le=1000)
    ] = 5
    users: Annotated[
        int, setting("Users from one address within the window that are a finding; 0 for none.", ge=0, le=1000)
    ] = 10
    role_changes: Annotated[
        bool, setting("Other roles than at the last sign-in of a user are a finding.", local="greater")
    ] = True
