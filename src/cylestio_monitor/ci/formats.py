"""Reports of findings for build systems: SARIF 2.1.0, JUnit XML, and annotations of GitHub Actions."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

from cylestio_monitor._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cylestio_monitor.ci.findings import PlacedFinding
    from cylestio_monitor.rules import Rule

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_HOME: Final = "https://github.com/cylestio/cylestio-monitor"
_LEVELS: Final = {"low": "note", "medium": "warning", "high": "error", "critical": "error"}
_SCORES: Final = {"low": "3.0", "medium": "5.0", "high": "8.0", "critical": "9.5"}
"""Severity to the score by which code hosts sort security results, from 0 to 10."""
_COMMANDS: Final = {"low": "notice", "medium": "warning", "high": "error", "critical": "error"}


def sarif(findings: Sequence[PlacedFinding], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Returns a SARIF 2.1.0 log with one run.

    Args:
        findings: The findings.
        rules: The rules in force by id, for their titles.
    """
    ids = sorted({finding.rule_id for finding in findings})
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Cylestio Monitor",
                        "informationUri": _HOME,
                        "semanticVersion": __version__,
                        "rules": [_sarif_rule(name, rules.get(name), findings) for name in ids],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"ROOT": {"description": {"text": "The folder in which the command ran."}}},
                "results": [_sarif_result(finding, ids.index(finding.rule_id), rules) for finding in findings],
            }
        ],
    }


def junit(findings: Sequence[PlacedFinding], names: Iterable[str], rules: Mapping[str, Rule]) -> str:
    """Returns JUnit XML with one test case per file, or per rule for the findings of a store.

    Args:
        findings: The findings.
        names: The files that were scanned, with or without a finding; empty for a store.
        rules: The rules in force by id, for their titles.
    """
    cases: dict[str, list[PlacedFinding]] = {name: [] for name in names}
    for finding in findings:
        cases.setdefault(finding.file or finding.rule_id, []).append(finding)
    failed = sum(map(bool, cases.values()))
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": "0"}
    root = ET.Element("testsuites", {"name": "cylestio", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "cylestio", **counts})
    for name, found in cases.items():
        case = ET.SubElement(suite, "testcase", {"classname": "cylestio", "name": _xml(name), "file": _xml(name)})
        if found:
            worst = max(found, key=lambda one: float(_SCORES[one.severity]))
            text = f"{len(found)} finding{'s' * (len(found) != 1)}, the worst is {worst.severity}"
            failure = ET.SubElement(case, "failure", {"type": worst.severity, "message": text})
            failure.text = "\n".join(_xml(f"{place(one)}: {one.severity}: {message(one, rules)}") for one in found)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def github(findings: Iterable[PlacedFinding], rules: Mapping[str, Rule]) -> str:
    """Returns one workflow command of GitHub Actions per finding."""
    lines = []
    for finding in findings:
        values = {"title": f"{finding.severity}: {finding.rule_id}"}
        if finding.file:
            values |= {
                "file": PurePath(finding.file).as_posix(),
                "line": str(finding.line),
                "col": str(finding.column),
                "endColumn": str(finding.end_column),
            }
        properties = ",".join(f"{name}={_property(value)}" for name, value in values.items())
        text = message(finding, rules) if finding.file else f"{message(finding, rules)} ({place(finding)})"
        lines.append(f"::{_COMMANDS[finding.severity]} {properties}::{_data(text)}\n")
    return "".join(lines)


def message(finding: PlacedFinding, rules: Mapping[str, Rule]) -> str:
    """Returns one sentence about a finding, without the matched text."""
    rule = rules.get(finding.rule_id)
    tags = ", ".join((*finding.owasp, *finding.atlas))
    where = f" at {finding.path}" if finding.path else ""
    return f"{rule.title if rule else finding.category} ({finding.rule_id}){where}{f' [{tags}]' if tags else ''}"


def place(finding: PlacedFinding) -> str:
    """Returns the place of a finding: file, line and column, or trace and time."""
    if finding.file:
        return f"{finding.file}:{finding.line}:{finding.column}"
    return f"trace {finding.trace_id} at {finding.time} UTC"


def _sarif_rule(name: str, rule: Rule | None, findings: Iterable[PlacedFinding]) -> dict[str, Any]:
    found = [finding for finding in findings if finding.rule_id == name]
    tags: dict[str, None] = defaultdict()
    for finding in found:
        tags.update(dict.fromkeys((finding.category, *finding.owasp, *finding.atlas)))
    worst = max(found, key=lambda one: float(_SCORES[one.severity]))
    return {
        "id": name,
        "shortDescription": {"text": rule.title if rule else worst.category},
        "defaultConfiguration": {"level": _LEVELS[worst.severity]},
        "properties": {"tags": ["security", *tags], "security-severity": _SCORES[worst.severity]},
    }


def _sarif_result(finding: PlacedFinding, index: int, rules: Mapping[str, Rule]) -> dict[str, Any]:
    location: dict[str, Any] = {}
    if finding.file:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": _uri(finding.file), "uriBaseId": "ROOT"},
            "region": {
                "startLine": finding.line,
                "startColumn": finding.column,
                "endLine": finding.line,
                "endColumn": finding.end_column,
            },
        }
    name = finding.path or finding.subtype
    span = f"{finding.trace_id}/{finding.span_id}/" if finding.trace_id else ""
    location["logicalLocations"] = [{"name": name, "fullyQualifiedName": f"{span}{name}", "kind": "member"}]
    return {
        "ruleId": finding.rule_id,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": message(finding, rules)},
        "locations": [location],
        "partialFingerprints": {"ruleAndMatch/v1": f"{finding.rule_id}:{finding.match_hash}"},
        "properties": {
            "severity": finding.severity,
            "category": finding.category,
            "target": finding.target,
            "subtype": finding.subtype,
            **({"time": finding.time, "agent": finding.agent_id} if finding.trace_id else {}),
        },
    }


def _uri(name: str) -> str:
    return quote(PurePath(name).as_posix().removeprefix("./"))


def _xml(text: str) -> str:
    """Escapes what XML 1.0 cannot hold."""
    return "".join(char if char in "\t\n" or char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
