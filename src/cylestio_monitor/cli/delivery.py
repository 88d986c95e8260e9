"""`cylestio outbox` and `cylestio flush`: what waits to be sent, and sending it by hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE
from cylestio_monitor.errors import StoreError, counted
from cylestio_monitor.store import admin
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from cylestio_monitor.cli.group import Context


@click.command()
@click.option("--refused", is_flag=True, help="List what was set aside, record by record.")
@click.option("--retry", is_flag=True, help="Have what was set aside sent once more.")
@click.option("--in-doubt", is_flag=True, help="With --retry: also what a collector may have taken already.")
@click.option("--drop", is_flag=True, help="Give up sending what was set aside; it stays in the store.")
@click.option("--signal", type=click.Choice(schema.SIGNALS), help="With --retry or --drop: of this signal only.")
@options.json_document
@click.pass_obj
def outbox(
    obj: Context, *, refused: bool, retry: bool, in_doubt: bool, drop: bool, signal: str | None, as_json: bool
) -> None:
    """Show what waits to be sent or was refused.

    What a collector refused is set aside with its reason until --retry or --drop. After a partial success the whole
    request is in doubt: the collector took a part of it and did not say which.

    \b
    Example: cylestio outbox --refused
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    if retry and drop:
        raise click.UsageError("--retry and --drop exclude each other")
    if (in_doubt and not retry) or (signal is not None and not (retry or drop)):
        raise click.UsageError("--in-doubt goes with --retry, --signal with --retry or --drop")
    if retry:
        moved = admin.requeue(obj.database, obj.loaded.settings.store, signal, in_doubt=in_doubt)
        output.hint(f"to be sent once more: {counted(moved, 'record')}")
    elif drop:
        gone = admin.give_up(obj.database, obj.loaded.settings.store, signal)
        output.hint(f"given up: {counted(gone, 'record')}")
    with obj.store() as connection:
        rows = queries.refused(connection) if refused else queries.outbox(connection)
    if as_json:
        output.as_json(rows)
        return
    if not rows:
        output.hint("nothing was refused" if refused else "the outbox is empty")
        return
    output.console().print(_records(rows) if refused else _groups(rows))


def _groups(rows: Sequence[queries.Row]) -> Table:
    body = ((row["signal"], row["reason"] or "waits", str(row["records"]), (row["oldest"] or "")[:19]) for row in rows)
    return output.table(("signal", "state", "records#", "oldest (UTC)"), body)


def _records(rows: Sequence[queries.Row]) -> Table:
    body = ((row["signal"], row["reason"], (row["time"] or "")[:19], row["name"], row["trace_id"]) for row in rows)
    return output.table(("signal", "reason", "time (UTC)", "name", "trace"), body)


@click.command()
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="Longest time to try.")
@options.json_document
@click.pass_context
def flush(context: click.Context, *, timeout: float, as_json: bool) -> None:
    """Send what waits to the collector.

    It is the one that the OTEL_EXPORTER_OTLP_* variables name. Exit code 1 if something could not be sent.

    \b
    Example: cylestio flush --timeout 10
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor.store import Store  # noqa: PLC0415 -- the exporters cost a second
    from cylestio_monitor.store.delivery import exporters  # noqa: PLC0415 -- the exporters cost a second
    from cylestio_monitor.store.delivery.sender import Outbox  # noqa: PLC0415 -- imported on use

    obj: Context = context.obj
    names = {signal: name for signal in schema.SIGNALS if (name := _exporter(signal))}
    if not names:
        raise StoreError("no collector is named: set OTEL_EXPORTER_OTLP_ENDPOINT")
    with obj.store():
        pass  # says so where there is no store, instead of making one
    store = Store.open(obj.database, obj.loaded.settings.store)
    sender = Outbox(store, exporters.build(names))
    try:
        sender.start()
        done = sender.force_flush(timeout)
        numbers = sender.stats()
    finally:
        sender.stop(1.0)
        store.close()
    if as_json:
        output.as_json({"delivered": done, "signals": numbers})
    else:
        for signal, line in numbers.items():
            problem = f", {line['problem']}" if line["problem"] else ""
            output.say(f"{signal}: {line['queued']} wait, {line['quarantined']} set aside{problem}")
    if not done:
        context.exit(NEGATIVE)


def _exporter(signal: str) -> str | None:
    """The OTLP exporter that the environment asks for."""
    from cylestio_monitor.otel import provider  # noqa: PLC0415 -- read when used

    named = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    return provider.otlp_exporter(signal.upper()) or next(
        (name.strip() for name in named.split(",") if name.strip().startswith("otlp")), None
    )
