"""`cylestio scan`: the findings in files, with the rules that monitoring would use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.ci import files, findings, segments
from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.builds import findings_report
from cylestio_monitor.cli.group import UNUSABLE, Context
from cylestio_monitor.errors import CylestioError

if TYPE_CHECKING:
    from pathlib import Path

    from cylestio_monitor.ci.files import TextFile
    from cylestio_monitor.ci.findings import PlacedFinding
    from cylestio_monitor.model import Subtype, Target

SUBTYPES = ("llm", "tool_call", "tool_result", "tool_definition", "system", "memory")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--target", type=click.Choice(["input", "output"]), help="Side of the call, for all texts.")
@click.option("--subtype", type=click.Choice(SUBTYPES), help="Surface, for all texts; files are read as plain text.")
@options.fail_on("low")
@options.report
@click.pass_obj
def scan(
    obj: Context,
    paths: tuple[str, ...],
    target: Target | None,
    subtype: Subtype | None,
    *,
    fail_on: str,
    report_format: str,
    output_file: Path | None,
    baseline: Path | None,
    update_baseline: bool,
) -> int:
    """Scan prompts, transcripts, tool definitions and instructions.

    PATH is a file, a folder, a glob pattern, or - for standard input. In JSON and JSON lines every string is scanned
    as the message, tool call, tool result or tool definition that it belongs to; mcp.json, AGENTS.md, skills and rule
    files of editors are scanned as text for the model. The matched text is never printed.

    Exit code 1 if a finding reaches --fail-on, 3 if a file cannot be read.

    \b
    Example: cylestio scan prompts 'skills/**/*.md' --format sarif --output scan.sarif
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    scanner = obj.scanner()
    for problem in (*obj.loaded.problems, *scanner.problems):
        output.hint(f"warning: {problem}")
    surface = segments.Surface(target or "input", subtype or "llm") if target or subtype else None
    scanned: list[TextFile] = []
    found: list[PlacedFinding] = []
    is_complete = True
    for name in files.find(paths):
        try:
            file = files.read(name)
        except CylestioError as error:
            output.hint(f"error: {error}")
            is_complete = False
            continue
        scanned.append(file)
        found += findings.of_file(scanner, file, surface)
    report = findings_report.Report(found, scanner.rules, [file.name for file in scanned])
    code = findings_report.finish(
        report,
        fail_on=fail_on,
        report_format=report_format,
        output_file=output_file,
        baseline=baseline,
        update_baseline=update_baseline,
        document=lambda kept: _document(scanned, kept),
    )
    return code if is_complete or code else UNUSABLE


def _document(scanned: list[TextFile], kept: list[PlacedFinding]) -> dict[str, Any]:
    return {
        "file": scanned[0].name if len(scanned) == 1 else None,
        "files": [file.name for file in scanned],
        "characters": sum(len(file.text) for file in scanned),
        "findings": [findings_report.row(finding) for finding in kept],
    }
