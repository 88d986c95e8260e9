"""Reads a shell script: simple commands with their words, quoted data, comments, here-documents and pipes."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LENGTH = 20_000
"""Longest script that is read, in code points."""

_MAX_COMMANDS = 500
_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+|\\\n)|(?P<comment>(?<![^\s;&|()])\#[^\n]*)"""
    r"""|(?P<heredoc><<-?[ \t]*(?P<mark>'[\w.-]+'|"[\w.-]+"|[\w.-]+))"""
    r"""|(?P<redirect>\d?(?:>>|>\||>|<<<|<)&?\d?-?)|(?P<end>\|\||&&|;;|\||;|&|\n|[(){}])|(?P<single>'[^']*'?)"""
    r"""|(?P<double>"(?:[^"\\]|\\.)*"?)|(?P<command>\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)?|`[^`]*`?)|(?P<escaped>\\.)"""
    r"""|(?P<plain>[^\s'"\\;&|`$(){}<>]+|\$\{[^}]*\}?|.)""",
    re.DOTALL,
)


class Word(NamedTuple):
    """One word of a command.

    Attributes:
        text: The word without its quotes.
        start: Its start in the script.
        end: The code point after it.
        is_quoted: Whether a part of it is in quotes.
    """

    text: str
    start: int
    end: int
    is_quoted: bool


class Command(NamedTuple):
    """A simple command.

    Attributes:
        words: Program and operands.
        inputs: The here-documents and here-strings that it reads, with their places.
        is_piped: Whether it reads the output of the command before it.
        nested: Scripts of command substitutions in it.
        targets: The files that it writes its output to.
    """

    words: list[Word]
    inputs: list[Word]
    is_piped: bool
    nested: list[str]
    targets: list[Word]


class ShellScript(NamedTuple):
    """A script.

    Attributes:
        commands: The simple commands, in order.
        comments: Starts and ends of the comments.
    """

    commands: list[Command]
    comments: list[tuple[int, int]]


def read(text: str) -> ShellScript:  # noqa: PLR0912, PLR0915 -- one loop over the tokens of the grammar
    """Reads a script; a text that is none gives words all the same."""
    commands: list[Command] = []
    comments: list[tuple[int, int]] = []
    current = Command([], [], is_piped=False, nested=[], targets=[])
    pending: list[tuple[str, bool, Command]] = []
    parts: list[str] = []
    word_start, quoted, after = -1, False, ""
    at = 0

    def close(end: int) -> None:
        nonlocal parts, word_start, quoted, after
        if word_start >= 0:
            word = Word("".join(parts), word_start, end, quoted)
            if after == "<<<":
                current.inputs.append(word)
            elif after.startswith(">"):
                current.targets.append(word)
            elif not after:
                current.words.append(word)
            parts, word_start, quoted, after = [], -1, False, ""

    while at < len(text) and len(commands) < _MAX_COMMANDS:
        token = _TOKEN.match(text, at)
        if token is None:
            break
        kind, value = token.lastgroup, token[0]
        kind = "heredoc" if token["heredoc"] else kind
        at = token.end()
        if kind in {"blank", "comment", "heredoc", "redirect", "end"}:
            close(token.start())
        if kind == "comment":
            comments.append(token.span())
        elif kind == "heredoc":
            mark = token["mark"].strip("'\"")
            pending.append((mark, value.startswith("<<-"), current))
        elif kind == "redirect":
            after = "" if re.search(r"&\d?-?$", value) else value.lstrip("012")
        elif kind == "end":
            after = ""
            commands.append(current)
            current = Command([], [], is_piped=value == "|", nested=[], targets=[])
            if value == "\n":
                for mark, _, owner in pending:
                    line_end = re.compile(rf"^[ \t]*{re.escape(mark)}[ \t]*$", re.MULTILINE).search(text, at)
                    stop, following = (line_end.start(), line_end.end()) if line_end else (len(text), len(text))
                    owner.inputs.append(Word(text[at:stop], at, stop, is_quoted=True))
                    at = following
                pending = []
        elif kind != "blank":
            if word_start < 0:
                word_start = token.start()
            if kind in {"single", "double"}:
                quoted = True
                inner = value[1:].removesuffix(value[0])
                if kind == "double":
                    current.nested.extend(_substitutions(inner))
                    inner = re.sub(r'\\(["\\$`])', r"\1", inner)
                value = inner
            elif kind == "command":
                current.nested.append(value.strip("`").removeprefix("$(").removesuffix(")"))
            elif kind == "escaped":
                value = value[1:]
            parts.append(value)
    close(len(text))
    commands.append(current)
    return ShellScript([one for one in commands if one.words or one.inputs or one.nested], comments)


def _substitutions(text: str) -> list[str]:
    """Returns the scripts of the command substitutions in a quoted text."""
    return [
        found[0].strip("`").removeprefix("$(").removesuffix(")")
        for found in re.finditer(r"\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`", text)
    ]
