"""Finds what a command executes in the end, and which parts of it are only data.

Wrappers such as ``sudo``, ``nohup`` and ``xargs`` run another command; interpreters such as ``bash -c``, ``perl -e``
and ``psql -c`` run a text, which may come from an option, a here-document or a pipe. Every other
quoted operand is data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.scan.commands import shell_script
from cylestio_monitor.scan.commands.argument_use import Use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cylestio_monitor.scan.commands.shell_script import Command, Word

_MAX_DEPTH = 5
_SHELLS = frozenset({"sh", "bash", "zsh", "dash", "ksh", "ash", "fish"})
_CODE_OPTIONS = {
    "perl": ("-e", "-E"), "ruby": ("-e",), "php": ("-r",), "node": ("-e", "--eval", "-p"), "deno": ("eval",),
    "python": ("-c",), "python2": ("-c",), "python3": ("-c",), "osascript": ("-e",), "lua": ("-e",),
    "pwsh": ("-c", "-Command"), "powershell": ("-c", "-Command"), "mongo": ("--eval",), "mongosh": ("--eval",),
}  # fmt: skip
_SQL_OPTIONS = {
    "psql": ("-c", "--command"), "mysql": ("-e", "--execute"), "mariadb": ("-e", "--execute"),
    "sqlcmd": ("-Q", "-q"),
    "sqlite3": (), "duckdb": (), "clickhouse-client": ("-q", "--query"),
    "cockroach": ("-e",), "bq": (), "snowsql": ("-q",),
}  # fmt: skip
_WRAPPERS = frozenset(
    ["sudo", "doas", "nohup", "time", "nice", "ionice", "env", "command", "exec", "setsid", "stdbuf", "timeout",
     "chroot", "xargs", "watch", "parallel", "caffeinate", "unbuffer", "busybox", "builtin", "then", "do", "else",
     "if", "while", "!"]
)  # fmt: skip
_WRAPPER_VALUES = frozenset(["-u", "-n", "-I", "-P", "-d", "-s", "-k", "-g", "-c", "-L", "-E", "--signal", "-o"])
_REMOTE = {"ssh": 1, "kubectl": 0, "docker": 0, "podman": 0, "nerdctl": 0, "oc": 0, "su": 0, "runuser": 0}
_SPEAKERS = frozenset(
    ["echo", "printf", "grep", "egrep", "fgrep", "rg", "ag", "ack", "man", "which", "type", "history", "apropos"]
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_CRON_FIELDS = re.compile(r"^\s*(?:@\w+|(?:[\d*/,-]+\s+){4}[\d*/,a-zA-Z-]+)\s+", re.MULTILINE)
_STRING = r"""(?:[rbuf]{0,2}"((?:[^"\\]|\\.){1,2000})"|[rbuf]{0,2}'((?:[^'\\]|\\.){1,2000})')"""
_CALLS = re.compile(
    rf"\b(?:os\.(?:system|popen)|subprocess\.\w+|commands\.getoutput|system|exec|execSync|spawn|spawnSync|shell_exec"
    rf"|passthru|popen|execFileSync|qx|sh|run|Popen|check_call|check_output)\s*\(\s*(?:{_STRING}|\[([^\]]{{1,2000}})\])"
)
_ARGUMENT_LIST = re.compile(
    rf"\b(?:execFileSync|execFile|spawn|spawnSync)\s*\(\s*{_STRING}\s*,\s*\[([^\]]{{1,2000}})\]"
)
_REMOVALS = re.compile(
    rf"\b(?:shutil\.rmtree|fs\.(?:rmSync|rm|rmdirSync)|FileUtils\.rm_rf|rimraf(?:\.sync)?|rmtree|remove_tree)\s*\(\s*{_STRING}"
)
_QUERIES = re.compile(
    rf"\.(?:execute|executemany|executescript|query|raw|exec_driver_sql|\$executeRawUnsafe)\s*\(\s*(?:text\(\s*)?{_STRING}"
)
STRINGS = re.compile(_STRING)


class Executed(NamedTuple):
    """A text that is executed.

    Attributes:
        text: The text, its quotes taken off.
        use: Its language.
    """

    text: str
    use: Use


class ShellReading(NamedTuple):
    """A shell script in parts.

    Attributes:
        executed: The commands and texts that it executes.
        data: Starts and ends of the parts that are only data.
        written: Starts and ends of the parts that are written to a file.
    """

    executed: list[Executed]
    data: list[tuple[int, int]]
    written: list[tuple[int, int]]


def read_shell(text: str) -> ShellReading:
    """Reads a shell script.

    Args:
        text: The script; beyond `shell_script.MAX_LENGTH` it is not read.
    """
    if len(text) > shell_script.MAX_LENGTH:
        return ShellReading([], [], [])
    walker = _Walker()
    walker.script(text, 0, is_outer=True)
    return ShellReading(walker.executed, walker.data, walker.written)


def read_code(text: str) -> list[Executed]:
    """Returns the commands and queries that a program passes to a shell or a database."""
    found: list[Executed] = []
    if len(text) > shell_script.MAX_LENGTH:
        return found
    for call in _CALLS.finditer(text):
        script = call[1] or call[2] or " ".join(_strings(call[3] or ""))
        found += _all(script)
    for call in _ARGUMENT_LIST.finditer(text):
        found += _all(" ".join([call[1] or call[2], *_strings(call[3])]))
    found += [Executed(f"rm -rf {call[1] or call[2]}", Use.SHELL) for call in _REMOVALS.finditer(text)]
    found += [Executed(call[1] or call[2], Use.SQL) for call in _QUERIES.finditer(text)]
    return found


def _all(script: str) -> list[Executed]:
    return [Executed(script, Use.SHELL), *read_shell(script).executed]


def _strings(text: str) -> list[str]:
    return [found[1] or found[2] for found in STRINGS.finditer(text)]


class _Walker:
    """Collects what a script executes."""

    def __init__(self) -> None:
        self.executed: list[Executed] = []
        self.data: list[tuple[int, int]] = []
        self.written: list[tuple[int, int]] = []
        self._folder = ""

    def script(self, text: str, depth: int, *, is_outer: bool = False) -> None:
        if depth > _MAX_DEPTH or len(text) > shell_script.MAX_LENGTH:
            return
        script = shell_script.read(text)
        if is_outer:
            self.data += script.comments
        before: Command | None = None
        for command in script.commands:
            self._command(command, before, depth, is_outer=is_outer)
            for nested in command.nested:
                self.script(nested, depth + 1)
            before = command

    def _command(self, command: Command, before: Command | None, depth: int, *, is_outer: bool) -> None:
        words = _unwrapped(command.words)
        program = words[0].text.rpartition("/")[2] if words else ""
        said = _output(before) if command.is_piped and before is not None else []
        if is_outer:
            self._mark_data(command, words, program)
        inputs = [word.text for word in command.inputs] + said
        texts = list(_texts(program, words, inputs))
        for text, use in texts:
            self.executed.append(Executed(text, use))
            if use is Use.SHELL:
                self.script(text, depth + 1)
            elif use is Use.CODE:
                self.executed += read_code(text)
        if program == "cd" and len(words) > 1:
            self._folder = words[1].text.rstrip("/") or "/"
        plain = " ".join(self._placed(program, words))
        if command.words and command.words[0].text.endswith("xargs") and program == "rm" and before is not None:
            plain += " " + " ".join(_searched(before))
        if (
            words
            and program not in _SPEAKERS
            and not texts
            and (plain != " ".join(w.text for w in words) or not is_outer)
        ):
            self.executed.append(Executed(plain, Use.SHELL))

    def _placed(self, program: str, words: list[Word]) -> Iterator[str]:
        """Gives the words, relative targets of a removal in the folder that the script changed into."""
        for number, word in enumerate(words):
            text = word.text
            if program == "rm" and number and self._folder and not text.startswith(("/", "~", "$", "-")):
                text = f"{self._folder.rstrip('/')}/{text.removeprefix('./')}"
            yield text

    def _mark_data(self, command: Command, words: list[Word], program: str) -> None:
        spans = self.written if command.targets or program == "tee" else self.data
        for word in command.words:
            if word.is_quoted and len(word.text.split()) > 1:
                spans.append((word.start, word.end))
        if program in _SPEAKERS and len(words) > 1:
            spans.append((words[0].start, words[-1].end))
        spans += [(word.start, word.end) for word in command.inputs]


def _unwrapped(words: list[Word]) -> list[Word]:
    """Returns the words of the command that wrappers and assignments in front of it run."""
    words = list(words)
    for _ in range(12):
        while words and _ASSIGNMENT.match(words[0].text) and not words[0].is_quoted:
            words.pop(0)
        if not words:
            break
        program = words[0].text.rpartition("/")[2]
        if program in _WRAPPERS:
            words = _after_options(words[1:], program)
        elif program in _REMOTE and len(words) > 1:
            inner = _remote(program, words)
            if inner is None:
                break
            words = inner
        else:
            break
    return words


def _after_options(words: list[Word], program: str) -> list[Word]:
    number = 0
    while number < len(words):
        text = words[number].text
        if text in _WRAPPER_VALUES and program != "env":
            number += 2
        elif text.startswith("-") or (program == "timeout" and re.fullmatch(r"[\d.]+[smhd]?", text)):
            number += 1
        else:
            break
    if program == "chroot":
        number += 1
    return words[number:]


def _remote(program: str, words: list[Word]) -> list[Word] | None:
    """Returns the command that runs on another host or in a container; ``None`` where none does."""
    texts = [word.text for word in words]
    if program == "ssh":
        rest = _after_options(words[1:], "sudo")
        return rest[1:] if len(rest) > 1 else None
    if program in {"su", "runuser"}:
        return words[texts.index("-c") + 1 :] if "-c" in texts[:-1] else None
    if "exec" in texts or "run" in texts:
        if "--" in texts:
            return words[texts.index("--") + 1 :] or None
        if "exec" in texts and program != "kubectl":
            rest = _after_options(words[texts.index("exec") + 1 :], "docker")
            return rest[1:] if len(rest) > 1 else None
    return None


def _texts(program: str, words: list[Word], inputs: list[str]) -> Iterator[tuple[str, Use]]:
    """Gives the texts that an interpreter runs, with their language."""
    texts = [word.text for word in words[1:]]
    if program in _SHELLS:
        inline = next((number for number, text in enumerate(texts) if re.fullmatch(r"-\w*c", text)), None)
        if inline is not None and inline + 1 < len(texts):
            yield texts[inline + 1], Use.SHELL
        elif not [text for text in texts if not text.startswith("-")]:
            yield from ((text, Use.SHELL) for text in inputs)
    elif program == "eval":
        yield " ".join(texts), Use.SHELL
    elif program == "crontab" and "-" in texts:
        yield from ((_CRON_FIELDS.sub("", text), Use.SHELL) for text in inputs)
    elif program in {"at", "batch"}:
        yield from ((text, Use.SHELL) for text in inputs)
    elif program in _CODE_OPTIONS:
        found = list(_values(texts, _CODE_OPTIONS[program]))
        yield from ((text, Use.CODE) for text in found or inputs)
    elif program in _SQL_OPTIONS:
        found = list(_values(texts, _SQL_OPTIONS[program]))
        if not _SQL_OPTIONS[program]:
            found = [word.text for word in words[1:] if word.is_quoted]
        yield from ((text, Use.SQL) for text in found or inputs)
    elif len(words) == 1 and words[0].is_quoted and " " in words[0].text:
        yield words[0].text, Use.SHELL


def _values(texts: list[str], options: tuple[str, ...]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if text in options and number + 1 < len(texts):
            yield texts[number + 1]
        for option in options:
            if option.startswith("--") and text.startswith(f"{option}="):
                yield text.partition("=")[2]


def _output(command: Command) -> list[str]:
    """Returns what a command that only speaks writes into the pipe behind it."""
    words = _unwrapped(command.words)
    program = words[0].text.rpartition("/")[2] if words else ""
    if program in {"echo", "printf"}:
        said = " ".join(word.text for word in words[1:] if not re.fullmatch(r"-[neE]+", word.text))
        return [said.replace("\\n", "\n")]
    return [word.text for word in command.inputs] if program in {"cat", "tee"} else []


def _searched(command: Command) -> list[str]:
    """Returns the folders whose contents a command lists."""
    words = _unwrapped(command.words)
    if not words or words[0].text.rpartition("/")[2] not in {"find", "ls", "fd"}:
        return []
    folders = []
    for word in words[1:]:
        if word.text.startswith("-"):
            break
        folders.append(word.text)
    return folders or ["."]
