"""Judges the findings of a tool call by what happens to the argument that they are in.

A finding stays as it is in what is executed, is at most suspicious in what is written or read, and is dropped in what
is only quoted or searched for. Commands that an argument spells in another shape, such as a list of words, are given as
plain texts, so that the rules can be applied to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.model import ALERT_OF, SEVERITY_NUMBER
from cylestio_monitor.scan.commands import executed, sql_script
from cylestio_monitor.scan.commands.argument_use import Use, use_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cylestio_monitor.model import Finding
    from cylestio_monitor.scan.walk import Leaf

JUDGED = frozenset({"destructive_command", "code_execution", "keyword", "excessive_agency", "resource_abuse"})
"""Categories of findings about what an argument does when it is executed."""

_COMMANDS = frozenset({"destructive_command", "keyword"})
_OBEYED = "keyword.user."  # words of the settings count everywhere
_MOST = "medium"
_PROGRAM_KEYS = ("cmd", "command", "program", "executable", "binary", "exe", "bin", "file", "name")
_OPERAND_KEYS = ("args", "arguments", "argv", "parameters", "params", "operands", "options")
_LIST_KEYS = frozenset({"argv", "args", "cmd", "command", "commands", "cmdline", "statements", "sql", "script"})
_MAX_NODES = 500
_MAX_DERIVED = 60
_LONGEST_JSON = 100_000


class Derived(NamedTuple):
    """A text that an argument spells in another shape.

    Attributes:
        text: The text.
        path: The place of the argument.
        use: What the tool does with it.
    """

    text: str
    path: str
    use: Use


class LeafReading(NamedTuple):
    """One argument.

    Attributes:
        use: What the tool does with it.
        data: Starts and ends of the parts that are only data.
        written: Starts and ends of the parts that are written to a file.
        derived: Texts that it executes in another shape.
    """

    use: Use
    data: Sequence[tuple[int, int]]
    written: Sequence[tuple[int, int]]
    derived: Sequence[str]


def read_leaf(tool: str, leaf: Leaf) -> LeafReading:
    """Reads one argument.

    Args:
        tool: Name of the tool.
        leaf: The argument, with the nearest key above it.
    """
    return read_text(use_of(tool, leaf.key, leaf.text), leaf.text)


def read_text(use: Use, text: str) -> LeafReading:
    """Reads a text of a known use."""
    if use is Use.SHELL:
        shell = executed.read_shell(text)
        derived = [one.text if one.use is not Use.SQL else sql_script.spelt_out(one.text) for one in shell.executed]
        return LeafReading(use, shell.data, shell.written, _distinct(derived, text))
    if use is Use.SQL:
        return LeafReading(use, sql_script.data_spans(text), (), _distinct([sql_script.spelt_out(text)], text))
    if use is Use.CODE:
        calls = executed.read_code(text)
        # What a program only holds in a text is data: what it passes on is judged by itself.
        quoted = [found.span() for found in executed.STRINGS.finditer(text)]
        return LeafReading(use, quoted, (), _distinct([call.text for call in calls], text))
    return LeafReading(use, (), (), ())


def _distinct(texts: list[str], text: str) -> list[str]:
    return [one for one in dict.fromkeys(texts) if one.strip() and one != text][:_MAX_DERIVED]


def judged(reading: LeafReading, found: list[Finding]) -> list[Finding]:
    """Returns the findings of an argument as they count for its use."""
    kept: list[Finding] = []
    for finding in found:
        if finding.category not in JUDGED or finding.rule_id.startswith(_OBEYED):
            kept.append(finding)
            continue
        if reading.use is Use.SEARCHED or _inside(finding, reading.data):
            continue
        kept.append(_milder(finding) if reading.use is Use.WRITTEN or _inside(finding, reading.written) else finding)
    return kept


def _inside(finding: Finding, spans: Sequence[tuple[int, int]]) -> bool:
    """Returns whether a finding is in one of the parts; the match of a command may read on behind the quote."""
    begins = finding.category in _COMMANDS
    return any(start <= finding.start < end and (begins or finding.end <= end) for start, end in spans)


def _milder(finding: Finding) -> Finding:
    if SEVERITY_NUMBER[finding.severity] <= SEVERITY_NUMBER[_MOST]:
        return finding
    return replace(finding, severity="medium", alert=ALERT_OF["medium"])


def derived_texts(value: object, tool: str, path: str) -> Iterator[Derived]:
    """Gives the commands that a value spells in several fields, and the texts of JSON in its texts.

    Args:
        value: The arguments.
        tool: Name of the tool.
        path: Their place.
    """
    stack: list[tuple[object, str, str, bool]] = [(value, path, "", False)]
    for _ in range(_MAX_NODES):
        if not stack:
            return
        item, place, key, is_decoded = stack.pop()
        if isinstance(item, str):
            use = use_of(tool, key, item)
            if is_decoded:
                yield Derived(item, place, use)
            inner = _json(item) if use is not Use.WRITTEN else None
            if inner is not None:
                stack.append((inner, place, key, True))
        elif isinstance(item, Mapping):
            pairs = [(str(name), child) for name, child in item.items()]
            yield from (Derived(text, place, Use.SHELL) for text in _split_command(dict(pairs)))
            for name, child in pairs:
                stack.append((child, place if is_decoded else f"{place}.{name}" if place else name, name, is_decoded))
        elif isinstance(item, (list, tuple)):
            if key.lower() in _LIST_KEYS and len(item) > 1 and all(isinstance(word, str) for word in item):
                use = use_of(tool, key, item[0])
                joined = (";\n" if use is Use.SQL or any(" " in word for word in item[:1]) else " ").join(
                    map(_word, item)
                )
                yield Derived(joined, place, Use.SQL if use is Use.SQL else Use.SHELL)
            stack += [
                (child, place if is_decoded else f"{place}[{number}]", key, is_decoded)
                for number, child in enumerate(item[:_MAX_NODES])
            ]


def _word(word: str) -> str:
    return f"'{word}'" if " " in word and "'" not in word and not word.upper().startswith(_SQL_VERBS) else word


_SQL_VERBS = ("DROP ", "DELETE ", "UPDATE ", "INSERT ", "SELECT ", "TRUNCATE ", "ALTER ", "CREATE ", "WITH ")


def _split_command(fields: dict[str, object]) -> Iterator[str]:
    """Gives the command whose program and operands are fields of their own."""
    lower = {name.lower(): child for name, child in fields.items()}
    program = next((lower[name] for name in _PROGRAM_KEYS if isinstance(lower.get(name), str)), None)
    for name in _OPERAND_KEYS:
        operands = lower.get(name)
        if isinstance(operands, str) and program is not None:
            yield f"{program} {operands}"
        elif isinstance(operands, (list, tuple)) and program is not None:
            words = [word for word in operands if isinstance(word, str)]
            if words:
                yield " ".join([str(program), *map(_word, words)])


def _json(text: str) -> object | None:
    """Returns the mapping or sequence that a text encodes; ``None`` for any other text."""
    stripped = text.strip()
    if not (2 < len(stripped) < _LONGEST_JSON and stripped[0] in "{[" and stripped[-1] in "]}"):
        return None
    try:
        decoded = json.loads(stripped)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, (dict, list)) else None
