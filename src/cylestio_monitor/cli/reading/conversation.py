"""The recorded content of a span as text for a terminal, with the findings marked in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

from cylestio_monitor import semconv
from cylestio_monitor.cli import output
from cylestio_monitor.model import Subtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console

    from cylestio_monitor.model import Finding, Target
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store.read.findings import FindingRow

MAX_TEXT = 4000
"""Longest text that is shown of one part, in code points."""

_MASK = re.compile(r"\[[a-z_]+:[a-z0-9.-]+:[0-9a-f]{4,}\]")
_NEAR = 160  # code points: what an excerpt shows on each side of its match


class Block(NamedTuple):
    """One part of a conversation.

    Attributes:
        title: The speaker, such as ``user`` or ``tool call git_log``.
        text: The text.
        target: The side of the call, for the scan that finds the marks.
        subtype: The surface, for the same.
    """

    title: str
    text: str
    target: Target
    subtype: Subtype


def blocks(attributes: Mapping[str, Any]) -> list[Block]:
    """Returns the recorded content of a span in the order in which a model or a tool saw it."""
    found = [
        Block("system", _text(part), "input", "system") for part in _items(attributes, semconv.SYSTEM_INSTRUCTIONS)
    ]
    for name, target in ((semconv.INPUT_MESSAGES, "input"), (semconv.OUTPUT_MESSAGES, "output")):
        for message in _items(attributes, name):
            if isinstance(message, dict):
                found += _message(message, "input" if target == "input" else "output")
    tool = attributes.get(semconv.TOOL_NAME, "")
    if arguments := attributes.get(semconv.TOOL_CALL_ARGUMENTS):
        found.append(Block(f"arguments of {tool}", _pretty(arguments), "output", "tool_call"))
    if result := attributes.get(semconv.TOOL_CALL_RESULT):
        found.append(Block(f"result of {tool}", _pretty(result), "input", "tool_result"))
    return [block for block in found if block.text]


def around(findings: Iterable[FindingRow]) -> list[Block]:
    """Returns the words that are kept around findings, those of near ones once; none of what has no excerpt."""
    found: list[Block] = []
    shown: dict[str, list[int]] = {}
    for one in findings:
        starts = shown.setdefault(one.path, [])
        if one.excerpt and not any(abs(one.start - start) <= _NEAR for start in starts):
            starts.append(one.start)
            surface = cast("Subtype", one.subtype if one.subtype in get_args(Subtype) else "llm")
            target: Target = "output" if one.target == "output" else "input"
            found.append(Block(f"around the finding in {one.path or one.target}", one.excerpt, target, surface))
    return found


def show(console: Console, parts: Iterable[Block], scanner: Scanner | None, *, indent: str = "") -> None:
    """Prints blocks, each finding marked in its text and named below it.

    Args:
        console: The console.
        parts: The blocks.
        scanner: Finds the marks; without it only masks are marked.
        indent: Text before every line.
    """
    for block in parts:
        console.print(output.cell(f"{indent}{block.title}", "bold"))
        text, is_cut = block.text[:MAX_TEXT], len(block.text) > MAX_TEXT
        findings = []
        if scanner is not None:
            found = scanner.text(text, target=block.target, subtype=block.subtype)
            findings = [finding for finding in found if finding.severity != "none"]
        _show_text(console, text, findings, f"{indent}  ")
        if is_cut:
            console.print(output.cell(f"{indent}  {len(block.text) - MAX_TEXT:,} more characters", "dim"))
        for number, finding in enumerate(findings, 1):
            line = output.cell(f"{indent}  [{number}] ", "dim").append_text(output.level(finding.severity))
            console.print(line.append_text(output.cell(f"  {finding.rule_id}")))


def _show_text(console: Console, text: str, findings: list[Finding], indent: str) -> None:
    """Prints a text line by line; a mark is coloured and has the number of its finding in front."""
    styles: list[str] = [""] * len(text)
    for match in _MASK.finditer(text):
        styles[match.start() : match.end()] = ["magenta"] * (match.end() - match.start())
    numbers: dict[int, str] = {}
    for number, finding in enumerate(findings, 1):
        start, end = max(0, finding.start), min(len(text), finding.end)
        style = f"underline {output.STYLES.get(finding.severity, '')}"
        styles[start:end] = [style] * (end - start)
        numbers[start] = f"{numbers.get(start, '')}[{number}]"
    start = 0
    for line in text.splitlines(keepends=True):
        shown = output.cell(indent)
        for style, piece, offset in _runs(line.rstrip("\r\n"), styles, start, numbers):
            if offset in numbers:
                shown.append(numbers[offset], "bold")
            shown.append_text(output.cell(piece, style, MAX_TEXT))
        console.print(shown, soft_wrap=False)
        start += len(line)


def _runs(line: str, styles: list[str], start: int, numbers: Mapping[int, str]) -> Iterator[tuple[str, str, int]]:
    """Splits a line where the style changes or a mark begins."""
    first = 0
    for place in range(1, len(line) + 1):
        if place == len(line) or styles[start + place] != styles[start + first] or start + place in numbers:
            yield styles[start + first], line[first:place], start + first
            first = place


def _message(message: Mapping[str, Any], target: Target) -> Iterator[Block]:
    role = str(message.get("role") or target)
    parts = message.get("parts")
    for part in parts if isinstance(parts, list) else [message.get("content")]:
        values: Mapping[str, Any] = part if isinstance(part, dict) else {}
        kind, name = values.get("type", "text"), values.get("name")
        if kind in {"tool_call", "server_tool_call"}:
            yield Block(f"{role}: calls {name}", _pretty(values.get("arguments")), "output", "tool_call")
        elif kind in {"tool_call_response", "server_tool_call_response"}:
            text = _pretty(values.get("response", values.get("content")))
            yield Block(f"{role}: result{f' of {name}' if name else ''}", text, "input", "tool_result")
        else:
            yield Block(role if kind == "text" else f"{role}: {kind}", _text(part), target, "llm")


def _items(attributes: Mapping[str, Any], name: str) -> list[Any]:
    value = attributes.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(part: Any) -> str:
    content = part.get("content") if isinstance(part, dict) else part
    return content if isinstance(content, str) else _pretty(content)


def _pretty(value: Any) -> str:
    """Returns a text as it is, and any other JSON value indented."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
        if isinstance(value, str):
            return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, indent=2)
