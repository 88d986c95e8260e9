"""`cylestio status`: what would be hooked, where the store is, what it holds and what waits to be sent."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor._version import __version__
from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.doctor import sdk_table
from cylestio_monitor.errors import counted
from cylestio_monitor.otel import diagnosis
from cylestio_monitor.store.read import queries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor.cli.group import Context


@click.command()
@options.json_document
@click.pass_obj
def status(obj: Context, *, as_json: bool) -> None:
    """Show what is hooked, stored, sent and waiting.

    For each SDK: whether it would be hooked, and why not; for the store: where it is, what it holds, what it has sent
    and what not. Nothing is started: `cylestio doctor` tries.

    \b
    Example: cylestio --db run.db status
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    loaded = obj.loaded
    sdks = diagnosis.survey(loaded)
    held: dict[str, Any] | None = None
    if obj.database.exists():
        with obj.store() as connection:
            held = queries.status(connection, obj.database)
    if as_json:
        output.as_json(
            {
                "version": __version__,
                "mode": loaded.settings.mode,
                "settings_file": str(loaded.source) if loaded.source else None,
                "problems": len(loaded.problems),
                "sdks": [asdict(sdk) for sdk in sdks],
                "store": held,
            }
        )
        return
    output.say(f"cylestio-monitor {__version__}, mode {loaded.settings.mode}, settings: {loaded.source or 'no file'}")
    if loaded.problems:
        output.say(f"{counted(len(loaded.problems), 'setting')} cannot be used: see `cylestio config check`")
    output.say("")
    output.console().print(sdk_table(sdks))
    output.say("")
    if held is None:
        output.say(f"store: {obj.database}, not written yet")
    else:
        _say_store(held)


def _say_store(held: Mapping[str, Any]) -> None:
    output.say(f"store: {held['path']}, {held['disk_bytes'] / 2**20:,.1f} MiB")
    output.say(
        f"  {counted(held['spans'], 'span')}, {held['flagged']:,} of them with a finding; "
        f"{counted(held['findings'], 'finding')}; {counted(held['events'], 'logged event')}"
    )
    for signal, numbers in held["delivery"].items():
        if any(numbers.values()):
            output.say(f"  {signal}: {numbers['queued']:,} to be sent, {numbers['quarantined']:,} quarantined")
    for name, count in sorted(held["counters"].items()):
        output.say(f"  {name}: {count:,}")
