"""`cylestio outbox` and `cylestio flush`: what waits to be sent, and sending it by hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store import maintenance, queries, schema

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context


@click.command()
@click.option("--retry", is_flag=True, help="Have what was set aside sent once more.")
@click.option("--signal", type=click.Choice(schema.SIGNALS), help="With --retry: of this signal only.")
@options.json_document
@click.pass_obj
def outbox(obj: Context, *, retry: bool, signal: str | None, as_json: bool) -> None:
    """Show what waits to be sent or was refused.

    What a collector refused is set aside with its reason, and sent once more with --retry.
    """
    if retry:
        moved = maintenance.requeue(obj.database, obj.loaded.settings.store, signal)
        output.hint(f"{moved} records wait to be sent once more")
    with obj.store() as connection:
        rows = queries.outbox(connection)
    if as_json:
        output.as_json(rows)
        return
    if not rows:
        output.hint("the outbox is empty")
        return
    body = ((row["signal"], row["reason"] or "waits", str(row["records"]), (row["oldest"] or "")[:19]) for row in rows)
    output.console().print(output.table(("signal", "state", "records#", "oldest (UTC)"), body))


@click.command()
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="Longest time to try.")
@options.json_document
@click.pass_context
def flush(context: click.Context, *, timeout: float, as_json: bool) -> None:
    """Send what waits to the collector.

    It is the one that the OTEL_EXPORTER_OTLP_* variables name. Exit code 1 if something could not be sent.
    """
    from cylestio_monitor.store import Store, exporters  # noqa: PLC0415 -- the exporters cost a second
    from cylestio_monitor.store.outbox import Outbox  # noqa: PLC0415

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
