"""`cylestio report`: one printable page about a period."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.errors import StoreError
from cylestio_monitor.incidents.period import period_document
from cylestio_monitor.store.read.values import to_ns
from cylestio_monitor.store.sqlite import files

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context


@click.command()
@options.filters("since")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default="report.html",
    show_default=True,
    metavar="FILE",
    help="File to write; it must not exist. A name that ends in .md gets Markdown.",
)
@click.pass_obj
def report(obj: Context, *, since: datetime | None, target: Path) -> None:
    """Write one printable page about a period: findings, incidents, agents, tools, decisions.

    Without --since the period is the last seven days. The page has no script and loads nothing.

    \b
    Example: cylestio report --since 7d --output week.html
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    begin = since or datetime.now(timezone.utc) - timedelta(days=7)
    with obj.store() as connection:
        document = period_document(connection, to_ns(begin), time.time_ns(), obj.database.name)
    text = document.markdown() if target.suffix == ".md" else document.html()
    try:
        with os.fdopen(files.create(target), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}") from error
    output.say(str(target))
