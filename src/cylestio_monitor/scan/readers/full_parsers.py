"""Reads shell and SQL with whole parsers, `tree-sitter-bash` and `sqlglot`, where the settings ask for them.

The built-in readings of `shell` and `sql` cost nothing; a parser sees more of the hard cases: a variable, a folder that
was changed into, a brace, a condition that a sub-select or an ``OR`` makes none. Parsing is bounded: a piece of text
around the place, and so many places of one text.
"""

from __future__ import annotations

import re
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 20
"""Places of one text that are parsed; at further ones the built-in reading stands."""

_AROUND = 2000
_STATEMENT = 1500
_QUOTED = frozenset({"raw_string", "string_content", "heredoc_body", "comment"})
_BRACES = re.compile(r"^(.{0,200}?)\{([^{}]{0,200},[^{}]{0,200})\}(.{0,200})$")
_here = threading.local()
_parsers: dict[str, Any] = {}


def load() -> list[ConfigError]:
    """Takes both parsers into use for this process; what is not installed is a problem, and read without."""
    problems = []
    for name, take in (("tree_sitter_bash", _load_shell), ("sqlglot", _load_sql)):
        if name in _parsers:
            continue
        try:
            _parsers[name] = take()
        except ImportError as error:
            reason = f"{error.name} is not installed: pip install 'cylestio-monitor[parsers]'"
            used = "Cylestio uses the built-in reading"
            problems.append(ConfigError(reason, source="settings", key="scan.parsers", used=used))
    return problems


def unload() -> None:
    """Goes back to the built-in readings."""
    _parsers.clear()


def _load_shell() -> Any:
    tree_sitter, bash = import_module("tree_sitter"), import_module("tree_sitter_bash")
    return tree_sitter.Parser(tree_sitter.Language(bash.language()))


def _load_sql() -> Any:
    sqlglot = import_module("sqlglot")
    return sqlglot, import_module("sqlglot.optimizer.simplify"), import_module("sqlglot.errors")


def _within_budget(text: str) -> bool:
    mark = (id(text), len(text))
    if getattr(_here, "mark", None) != mark:
        _here.mark, _here.count = mark, 0
    _here.count += 1
    return bool(_here.count <= MOST)


def shell_words(text: str, start: int) -> list[str] | None:
    """The words of the command at `start`, variables and braces resolved, paths relative to where it runs.

    Returns:
        ``None`` where there is no parser, or the text is no script that it understands.
    """
    parser = _parsers.get("tree_sitter_bash")
    if parser is None or not _within_budget(text):
        return None
    low = max(0, start - _AROUND)
    before = text[low:start].encode("utf-8", "replace")
    data = before + text[start : start + _AROUND].encode("utf-8", "replace")
    root = parser.parse(data).root_node
    node = root.descendant_for_byte_range(len(before), len(before) + 2)
    if node is None or node.type in _QUOTED:
        return None  # a text inside the script, which may be a script of its own
    while node is not None and node.type != "command":
        node = node.parent
    if node is None or node.has_error:
        return None
    script = _Script(root, len(before))
    words: list[str] = []
    for child in node.children:
        if child.end_byte > len(before) and child.type not in {
            "file_redirect",
            "heredoc_redirect",
            "herestring_redirect",
        }:
            words += _braces(script.value(child))
    return [words[0], *map(script.placed, words[1:])] if words else None


class _Script:
    """The state of a script before a place in it: its variables and its folder."""

    def __init__(self, root: Any, place: int) -> None:
        self._known: dict[str, str] = {}
        self._folder = ""
        for node in _before(root, place):
            if node.type == "variable_assignment":
                name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
                if name is not None and value is not None:
                    self._known[_text(name)] = self.value(value)
            elif node.type == "command" and node.end_byte <= place:
                words = [self.value(child) for child in node.children]
                if words and words[0] in {"cd", "pushd"} and len(words) == 2:
                    self._folder = words[1].rstrip("/") or "/"

    def value(self, node: Any) -> str:
        """Returns the value of a word, as far as the script defines it."""
        kind = node.type
        if kind == "raw_string":
            return _text(node)[1:-1]
        if kind in {"string", "concatenation", "command_name"}:
            return "".join(self.value(child) for child in node.children if child.type != '"')
        if kind in {"simple_expansion", "expansion"}:
            name = next((_text(child) for child in node.children if child.type == "variable_name"), "")
            return self._known.get(name, f"${name}")
        if kind == "command_substitution":
            inner = _text(node).strip("$()`").split()
            return inner[1].strip("\"'") if len(inner) == 2 and inner[0] in {"echo", "printf"} else _text(node)
        return re.sub(r"\\(.)", r"\1", _text(node))

    def placed(self, word: str) -> str:
        """A relative path with the folder before it; anything else as it is."""
        if not self._folder or word.startswith(("/", "~", "$", "-", "`")):
            return word
        return f"{self._folder.rstrip('/')}/{word.removeprefix('./')}"


def _before(root: Any, place: int) -> Iterator[Any]:
    """Every node that begins before the place, in the order of the text."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack += [child for child in reversed(node.children) if child.start_byte < place]


def _text(node: Any) -> str:
    data: bytes = node.text
    return data.decode("utf-8", "replace")


def _braces(word: str) -> list[str]:
    """The words that ``/{bin,etc}`` stands for."""
    match = _BRACES.match(word)
    if match is None:
        return [word]
    return [f"{match[1]}{part}{match[3]}" for part in match[2].split(",")][:20]


def unbounded(statement: str, text: str) -> bool | None:
    """Returns whether a ``DELETE`` or ``UPDATE`` reaches every row; ``None`` where no parser can tell.

    Args:
        statement: The statement, alone.
        text: What it stands in, of which only so many are parsed.
    """
    loaded = _parsers.get("sqlglot")
    if loaded is None or len(statement) > _STATEMENT or not _within_budget(text):
        return None
    sqlglot, simplify, errors = loaded
    try:
        tree = sqlglot.parse_one(statement)
        if not isinstance(tree, (sqlglot.exp.Delete, sqlglot.exp.Update)):
            return None
        if (
            tree.args.get("limit") is not None
            or tree.args.get("using")
            or tree.args.get("from_")
            or tree.args.get("from")
        ):
            return None
        where = tree.args.get("where")
        if where is None:
            return True
        condition = simplify.simplify(where.this.copy())
        return bool(condition == sqlglot.exp.true() or _same_sides(condition, sqlglot.exp))
    except (errors.SqlglotError, RecursionError, ValueError):
        return None


def _same_sides(condition: Any, exp: Any) -> bool:
    """Returns whether a condition compares a thing with itself, alone or behind an ``OR``."""
    if isinstance(condition, exp.Paren):
        return _same_sides(condition.this, exp)
    if isinstance(condition, exp.Or):
        return _same_sides(condition.left, exp) or _same_sides(condition.right, exp)
    return isinstance(condition, (exp.EQ, exp.LTE, exp.GTE, exp.Like)) and condition.left == condition.right
