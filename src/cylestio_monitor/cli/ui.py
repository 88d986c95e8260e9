"""`cylestio ui`: the local web UI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import output
from cylestio_monitor.cli.group import START
from cylestio_monitor.errors import CylestioError

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context

_FILE = click.Path(dir_okay=False, exists=True, path_type=Path)


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port to listen on; a free one without it.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="IP address to listen on.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="Host name that browsers use for the address.")
@click.option("--certificate", type=_FILE, metavar="FILE", help="Certificate chain, for TLS.")
@click.option("--private-key", type=_FILE, metavar="FILE", help="Private key of the certificate.")
@click.pass_obj
def ui(
    obj: Context, *, port: int, host: str, names: tuple[str, ...], certificate: Path | None, private_key: Path | None
) -> None:
    """Serve the web UI and print its address.

    The address holds a token that logs one browser in, once, within five minutes. The server reads the store that a
    program in the same folder would write. An address that others can reach needs a certificate.

    \b
    Example: cylestio ui --port 8765
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    try:
        from cylestio_monitor.web import server  # noqa: PLC0415 -- needs the extra `ui`
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"starlette", "jinja2", "uvicorn"}:
            raise
        raise CylestioError("the web UI needs the extra `ui`: pip install 'cylestio-monitor[ui]'") from error

    if not obj.database.exists():
        output.hint(f"{obj.database}: there is no store yet. {START}")
    try:
        server.serve(obj.database, obj.loaded, server.Address(host, port, names, certificate, private_key), _announce)
    except KeyboardInterrupt:
        output.hint("stopped")


def _announce(link: str) -> None:
    output.hint("Open this address in a browser; it works once, for 5 minutes. Ctrl+C stops the server.")
    output.say(link)
