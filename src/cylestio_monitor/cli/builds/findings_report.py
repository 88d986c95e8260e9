"""The common end of `cylestio scan` and `cylestio check`: baseline, report format, exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.ci import baseline as baselines
from cylestio_monitor.ci import formats
from cylestio_monitor.cli import output
from cylestio_monitor.cli.group import NEGATIVE
from cylestio_monitor.errors import CylestioError, counted
from cylestio_monitor.model import ALERT_OF, SEVERITY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cylestio_monitor.ci.findings import PlacedFinding
    from cylestio_monitor.rules import Rule


@dataclass(slots=True)
class Report:
    """The findings of a command, and what their report needs.

    Attributes:
        findings: The findings.
        rules: The rules in force by id.
        names: The files that were scanned.
    """

    findings: list[PlacedFinding]
    rules: Mapping[str, Rule]
    names: list[str] = field(default_factory=list)


def finish(
    report: Report,
    *,
    fail_on: str,
    report_format: str,
    output_file: Path | None,
    baseline: Path | None,
    update_baseline: bool,
    document: Callable[[list[PlacedFinding]], dict[str, Any]],
) -> int:
    """Applies the baseline, writes the report and returns the exit code.

    Args:
        report: The findings.
        fail_on: The lowest severity that fails.
        report_format: One of the formats of `options.report`.
        output_file: The file of the report; standard output without it.
        baseline: The file of accepted findings.
        update_baseline: Accepts all present findings.
        document: Makes the JSON document.
    """
    kept = report.findings
    if baseline is not None:
        if update_baseline:
            baselines.save(baseline, kept)
            output.hint(f"{baseline}: {counted(len(kept), 'finding')} accepted from now on")
        kept = baselines.new(kept, baselines.load(baseline))
    elif update_baseline:
        raise click.UsageError("--update-baseline goes with --baseline")
    if report_format == "text":
        text = None if output_file is None else _text(kept, report)
    else:
        text = {
            "json": lambda: output.encoded(document(kept)),
            "sarif": lambda: output.encoded(formats.sarif(kept, report.rules)),
            "junit": lambda: formats.junit(kept, report.names, report.rules),
            "github": lambda: formats.github(kept, report.rules),
        }[report_format]()
    if text is None:
        _print(kept, report, fail_on)
    elif output_file is None:
        click.echo(text, nl=False)
    else:
        try:
            output_file.write_text(text, "utf-8")
        except OSError as error:
            raise CylestioError(f"{output_file}: {error.strerror}") from error
        output.hint(f"{output_file}: {_summary(kept, report)}")
    return NEGATIVE if any(finding.reaches(fail_on) for finding in kept) else 0


def row(finding: PlacedFinding) -> dict[str, Any]:
    """Returns a finding as a JSON object."""
    shared = {
        "rule_id": finding.rule_id,
        "category": finding.category,
        "severity": finding.severity,
        "alert": finding.alert,
        "target": finding.target,
        "subtype": finding.subtype,
        "path": finding.path,
        "start": finding.start,
        "end": finding.end,
        "owasp": list(finding.owasp),
        "atlas": list(finding.atlas),
        "match_hash": finding.match_hash,
    }
    if finding.file:
        return {**shared, "file": finding.file, "line": finding.line, "column": finding.column}
    return {
        **shared,
        "trace_id": finding.trace_id,
        "span_id": finding.span_id,
        "timestamp": finding.time,
        "agent_id": finding.agent_id or None,
    }


def _print(kept: list[PlacedFinding], report: Report, fail_on: str) -> None:
    console = output.console()
    for name, found in _by_file(kept).items():
        if name and (len(report.names) > 1):
            console.print(output.cell(name, "bold"))
        rows = (
            (
                f"{one.line}:{one.column}" if one.file else one.time[:19],
                output.level(one.severity),
                one.rule_id,
                one.trace_id[:12],
                _tags(one),
            )
            for one in found
        )
        columns = (("line" if name else "time (UTC)", 0), ("severity", 0), ("rule", 0), ("trace", 1), ("taxonomy", 2))
        console.print(output.fitted(columns, rows))
    is_passed = bool(kept) and not any(one.reaches(fail_on) for one in kept)
    output.say(f"{_summary(kept, report)}{f', none of severity {fail_on} or higher' if is_passed else ''}")


def _text(kept: list[PlacedFinding], report: Report) -> str:
    lines = [f"{formats.place(one)}: {one.severity}: {formats.message(one, report.rules)}" for one in kept]
    return "\n".join([*lines, _summary(kept, report)]) + "\n"


def _by_file(kept: Iterable[PlacedFinding]) -> dict[str, list[PlacedFinding]]:
    found: dict[str, list[PlacedFinding]] = {}
    for finding in kept:
        found.setdefault(finding.file, []).append(finding)
    return found


def _summary(kept: list[PlacedFinding], report: Report) -> str:
    scanned = f"{counted(len(report.names), 'file')} scanned, " if len(report.names) > 1 else ""
    if not kept:
        return f"{scanned}no findings" if scanned or not report.names else "nothing found"
    worst = max((finding.severity for finding in kept), key=SEVERITY_NUMBER.__getitem__)
    return f"{scanned}{counted(len(kept), 'finding')}: {ALERT_OF[worst]}"


def _tags(finding: PlacedFinding) -> str:
    return " ".join((*finding.owasp, *finding.atlas))
