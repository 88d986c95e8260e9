"""`cylestio scan`: what the scanner finds in a file, with the rules that monitoring would use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE, Context
from cylestio_monitor.errors import CylestioError
from cylestio_monitor.model import ALERT_OF, SEVERITY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.model import Finding, Subtype, Target

SUBTYPES = ("llm", "tool_call", "tool_result", "tool_definition", "system", "memory")


@click.command()
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "--target",
    type=click.Choice(["input", "output"]),
    default="input",
    show_default=True,
    help="Which way the text goes.",
)
@click.option(
    "--subtype", type=click.Choice(SUBTYPES), default="llm", show_default=True, help="The surface it stands on."
)
@options.json_document
@click.pass_obj
def scan(obj: Context, file: str, target: Target, subtype: Subtype, *, as_json: bool) -> int:
    """Scan a text and name what is found.

    FILE is a file, or - for standard input. Findings are named by line and column; the text itself is not printed.
    Exit code 1 if there is a finding.
    """
    text = _read(file)
    scanner = obj.scanner()
    for problem in (*obj.loaded.problems, *scanner.problems):
        output.hint(f"warning: {problem}")
    findings = scanner.text(text, target=target, subtype=subtype)
    if as_json:
        output.as_json(
            {"file": file, "characters": len(text), "findings": [_row(text, finding) for finding in findings]}
        )
    elif findings:
        rows = [_row(text, finding) for finding in findings]
        body = (
            (f"{row['line']}:{row['column']}", output.level(row["severity"]), row["rule_id"], _tags(row))
            for row in rows
        )
        output.console().print(output.table(("line", "severity", "rule", "taxonomy"), body))
        worst = max((finding.severity for finding in findings), key=SEVERITY_NUMBER.__getitem__)
        output.say(f"{len(findings)} finding{'s' * (len(findings) != 1)}: {ALERT_OF[worst]}")
    else:
        output.say("nothing found")
    return NEGATIVE if findings else 0


def _read(file: str) -> str:
    """The text of a file or of standard input; bytes that are no UTF-8 read as U+FFFD."""
    try:
        if file == "-":
            raw = sys.stdin.buffer.read()
        else:
            with open(file, "rb") as stream:  # noqa: PTH123 -- no Path is needed
                raw = stream.read()
    except OSError as error:
        raise CylestioError(f"{file}: {error.strerror}") from error
    return raw.decode("utf-8", "replace")


def _row(text: str, finding: Finding) -> dict[str, Any]:
    start = finding.start
    return {
        "rule_id": finding.rule_id,
        "category": finding.category,
        "severity": finding.severity,
        "alert": finding.alert,
        "target": finding.target,
        "subtype": finding.subtype,
        "start": start,
        "end": finding.end,
        "line": text.count("\n", 0, start) + 1,
        "column": start - (text.rfind("\n", 0, start) + 1) + 1,
        "owasp": list(finding.owasp),
        "atlas": list(finding.atlas),
    }


def _tags(row: dict[str, Any]) -> str:
    tags: Sequence[str] = (*row["owasp"], *row["atlas"])
    return " ".join(tags)
