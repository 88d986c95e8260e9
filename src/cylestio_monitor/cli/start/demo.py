"""`cylestio demo`: an example agent under monitoring, and its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import output
from cylestio_monitor.cli.reading.trace import show
from cylestio_monitor.config import database_path
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read import queries, traces

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context


@click.command()
@click.option("--block", is_flag=True, help="Run the agent in mode block: its dangerous call is refused.")
@click.pass_obj
def demo(obj: Context, *, block: bool) -> None:
    """Run an example agent and show its trace with the findings.

    The agent needs no key, no network and no other package: its model follows a script, its tools are harmless. It
    writes to a store of its own, below the user's data folder, or to the one that --db names.

    \b
    Example: cylestio demo --block
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from cylestio_monitor.otel import setup  # noqa: PLC0415 -- the SDK is imported when it is needed

    database = obj.database_file or database_path(obj.loaded.settings).parent / "demo" / "cylestio.db"
    setup.start(
        {
            "enabled": True,
            "mode": "block" if block else "monitor",
            "content": "masked",
            "agent_id": "release-notes",
            "store": {"enabled": True, "path": str(database)},
        },
        path=obj.config_file,
    )
    try:
        from cylestio_monitor.cli.start import example_agent as agent  # noqa: PLC0415 -- as above

        output.say(f"agent: {agent.QUESTION}")
        output.say(f"answer: {agent.run()}")
    finally:
        setup.stop()
    if not database.exists():
        raise StoreError(f"{database}: the example could not be stored")
    with queries.connect(database) as connection:
        found = traces.trace(connection, traces.latest_run(connection, limit=1)[0], database)
    output.say("")
    show(found)
    name = "" if obj.database_file is None and database == obj.database else f" --db {database}"
    output.say("")
    output.say(f"All findings:     cylestio{name} findings")
    output.say("Your own agent:   opentelemetry-instrument python agent.py")
