"""`cylestio findings`: what was found, where, by which rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from cylestio_monitor.cli import options, output
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.read import findings as finding_reads

if TYPE_CHECKING:
    from datetime import datetime

    from cylestio_monitor.cli.group import Context


@click.command()
@click.option("--severity", type=click.Choice(SEVERITIES[1:]), help="Of this severity or higher.")
@click.option("--category", metavar="NAME", help="Of this category only, such as secret.")
@click.option("--rule", metavar="ID", help="Of this rule only, or of all below a prefix such as secret.*")
@options.agent
@options.since
@options.limited(50)
@options.json_lines
@click.pass_obj
def findings(
    obj: Context,
    *,
    severity: str | None,
    category: str | None,
    rule: str | None,
    agent: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List findings, the newest first. The matched text is not in the store; place and hash are."""
    with obj.store() as connection:
        rows = finding_reads.findings(
            connection, limit=limit, severity=severity, category=category, rule=rule, agent_id=agent, since=since
        )
    if as_json:
        for row in rows:
            output.as_json(msgspec.structs.asdict(row), lines=True)
        return
    if not rows:
        output.hint("no findings")
        return
    body = (
        (
            row.timestamp[:19],
            output.level(row.severity),
            row.rule_id,
            f"{row.subtype} {row.target}",
            f"{row.path} {row.start}-{row.end}",
            row.tool or row.model or "",
            row.action or "",
            row.trace_id[:8],
        )
        for row in rows
    )
    columns = ("time (UTC)", "severity", "rule", "surface", "place", "tool or model", "action", "trace")
    output.console().print(output.table(columns, body))
