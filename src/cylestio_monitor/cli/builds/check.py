"""`cylestio check`: fails a build for findings in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cylestio_monitor.ci import findings
from cylestio_monitor.cli import options
from cylestio_monitor.cli.builds import findings_report
from cylestio_monitor.store.read import findings as finding_reads
from cylestio_monitor.store.read.pages import MOST

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cylestio_monitor.cli.group import Context


@click.command()
@options.filters("since", "agent")
@options.fail_on("high")
@options.report
@click.pass_obj
def check(
    obj: Context,
    *,
    since: datetime | None,
    agent: str | None,
    fail_on: str,
    report_format: str,
    output_file: Path | None,
    baseline: Path | None,
    update_baseline: bool,
) -> int:
    """Fail if the store holds findings: for a build that runs an agent.

    Exit code 1 if a finding reaches --fail-on, 3 if the store cannot be read.

    \b
    Example: cylestio --db run.db check --fail-on medium --format junit --output a.xml
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        rows = finding_reads.findings(connection, limit=MOST, agent_id=agent, since=since)
    found = findings.of_store(rows)
    report = findings_report.Report(found, obj.scanner().rules)
    return findings_report.finish(
        report,
        fail_on=fail_on,
        report_format=report_format,
        output_file=output_file,
        baseline=baseline,
        update_baseline=update_baseline,
        document=lambda kept: {"findings": [findings_report.row(finding) for finding in kept]},
    )
