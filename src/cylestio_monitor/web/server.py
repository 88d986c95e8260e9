"""The server of the web UI: its address, its protection there, and its life."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

import uvicorn

from cylestio_monitor.errors import CylestioError
from cylestio_monitor.web.access.sessions import Sessions
from cylestio_monitor.web.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cylestio_monitor.config import Loaded

_MAX_CONNECTIONS: Final = 100
_SHUTDOWN_S: Final = 2


class ServerError(CylestioError):
    """The server cannot be started as it was asked for."""


class Address(NamedTuple):
    """Where the server listens.

    Attributes:
        host: An IP address.
        port: The port; 0 for a free one.
        names: Other host names that browsers may use for it.
        certificate: File with the certificate chain, for TLS.
        private_key: File with its key.
    """

    host: str = "127.0.0.1"
    port: int = 0
    names: Sequence[str] = ()
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def scheme(self) -> str:
        """``https`` with a certificate, else ``http``."""
        return "https" if self.certificate else "http"

    @property
    def shown_host(self) -> str:
        """The IP address as it stands in a URL: one of version 6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def check(self) -> None:
        """Refuses an address that would show the store to others unprotected.

        Raises:
            ServerError: The host is no IP address, or one that others reach and there is no TLS.
        """
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError as error:
            raise ServerError(f"{self.host} is no IP address: give one such as 127.0.0.1") from error
        if (self.certificate is None) != (self.private_key is None):
            raise ServerError("a certificate and its private key go together")
        if not address.is_loopback and self.certificate is None:
            raise ServerError(
                f"{self.host} can be reached by others: that needs TLS, so give a certificate and its private key"
            )
        if address.is_unspecified and not self.names:
            raise ServerError(f"{self.host} is every address of this machine: give the host name that browsers use")

    def hosts(self, port: int) -> frozenset[str]:
        """The values of the header ``Host`` that are served."""
        known = [self.shown_host, *self.names]
        if ipaddress.ip_address(self.host).is_loopback:
            known += ["127.0.0.1", "localhost", "[::1]"]
        with_port = {f"{name.lower()}:{port}" for name in known}
        # A browser leaves the port out where it is that of the scheme.
        is_usual = port == (443 if self.certificate else 80)
        return frozenset(with_port | ({name.lower() for name in known} if is_usual else set()))


def serve(path: Path, loaded: Loaded, address: Address, announce: Callable[[str], None]) -> None:
    """Serves until the process is told to end.

    Args:
        path: The database.
        loaded: The settings.
        address: Where to listen.
        announce: Called with the one-time link when connections are taken.

    Raises:
        ServerError: The address cannot be used, or is not protected.
    """
    address.check()
    listening = _listen(address)
    with listening:
        port = listening.getsockname()[1]
        sessions = Sessions()
        app = create_app(
            path,
            loaded,
            sessions=sessions,
            hosts=address.hosts(port),
            cookie=f"cylestio_{port}",
            scheme=address.scheme,
        )
        # Tokens are part of addresses: no line of an access log may hold one.
        logging.getLogger("uvicorn.access").disabled = True
        server = uvicorn.Server(_settings(app, address))
        host = address.names[0] if address.names else address.shown_host
        announce(f"{address.scheme}://{host}:{port}/login/{sessions.new_link()}")
        server.run(sockets=[listening])


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ServerError(f"cannot listen on {address.host}:{address.port}: {error.strerror or error}") from error
    return listening


def _settings(app: object, address: Address) -> uvicorn.Config:
    made = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.private_key,
    )
    try:
        made.load()
    except (OSError, ssl.SSLError) as error:
        raise ServerError(f"the certificate or its key cannot be used: {error}") from error
    return made
