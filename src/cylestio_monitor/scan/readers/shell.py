"""Reads shell commands far enough to tell a harmless one from a destructive one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cylestio_monitor.scan.readers import full_parsers

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEM = frozenset(
    [
        "bin",
        "boot",
        "dev",
        "etc",
        "home",
        "lib",
        "lib32",
        "lib64",
        "opt",
        "proc",
        "root",
        "run",
        "sbin",
        "srv",
        "sys",
        "usr",
        "var",
        "system",
        "library",
        "users",
        "applications",
        "windows",
        "private",
        "volumes",
    ]
)
_WHOLE = frozenset(
    [
        "/",
        "/*",
        "/.",
        "/.*",
        "//",
        "~",
        "~/",
        "~/*",
        "~/.*",
        "$HOME",
        "$HOME/",
        "$HOME/*",
        "${HOME}",
        "${HOME}/",
        "${HOME}/*",
        "C:\\",
        "C:/",
        "c:\\",
        "c:/",
        "C:\\*",
        "%SYSTEMROOT%",
        "%USERPROFILE%",
    ]
)
_HERE = frozenset(["*", ".", "./", "./*", "..", "../", "../*", ".*", "*.*", "$PWD", "$(pwd)", "`pwd`"])
_SCRATCH = re.compile(r"^(?:/private)?/(?:var/)?tmp(?:/|$)|^/var/cache/|^/var/lib/apt/|^/dev/shm/", re.IGNORECASE)


_PIECE = re.compile(
    r"""(?P<blank>[ \t]+|\\\n)|(?P<single>'[^']*'?)|(?P<double>"(?:[^"\\]|\\.)*"?)|(?P<escaped>\\.)"""
    r"""|(?P<plain>[^\s'"\\;&|`)]+)|(?P<end>[;&|\n`)])|(?P<other>.)""",
    re.DOTALL,
)


def words(text: str, start: int = 0, limit: int = 2000) -> list[str]:
    """The words of the simple command that begins at `start`, quotes taken off, up to its end.

    Args:
        text: A command line, a script, or prose that quotes one.
        start: Where the command's name stands.
        limit: Most characters read.
    """
    return list(_read(text, start, limit))


def _read(text: str, start: int, limit: int = 2000) -> Iterator[str]:
    """The words one by one: who has seen enough pays for no more."""
    current: list[str] = []
    first = True
    for piece in _PIECE.finditer(text, start, min(len(text), start + limit)):
        kind, value = piece.lastgroup, piece[0]
        if kind in {"blank", "end"}:
            if current:
                yield "".join(current)
                current, first = [], False
            if kind == "end":
                return
            continue
        if kind in {"single", "double"}:
            if not current and not first and _closes(text, piece.start() + 1):
                return
            value = value[1:].removesuffix(value[0])
        elif kind == "escaped" and not value[1].isalnum():
            value = value[1]
        current.append(value)
    if current:
        yield "".join(current)


def _closes(text: str, index: int) -> bool:
    """Returns whether a quote at `index - 1` ends a text around the command rather than opening a word."""
    return index >= len(text) or text[index] in " \t\n.,;:)]}"


_PROFILE = re.compile(r"\.(?:bash(?:rc|_profile)|profile|zshrc|zprofile|zshenv)\b")
_SETTING = re.compile(
    r"""\b(?:echo|printf)\s+(?:-\w+\s+)?["'](?:export\s+(?!LD_|DYLD_|PROMPT_COMMAND|HIST|BASH_ENV)[A-Z_]+=[^;|&`]*"""
    r"""|alias\s+(?!sudo|su\b|ssh)[\w-]+=[^;|`]*|eval\s+"?\$\([\w/.~ -]+\s(?:init|env|shellenv|hook)[\w -]*\)"?"""
    r"""|(?:source|\.)\s+[~/$][^;|&\s]*)["']\s*(?:>>|\|)"""
)


def sets_environment(text: str, start: int, end: int) -> bool:
    """Returns whether the match only adds a variable, an alias or a tool's set-up to a shell's profile."""
    if _PROFILE.search(text, start, end) is None:
        return False
    line = max(text.rfind("\n", max(0, start - 400), start) + 1, start - 400, 0)
    return _SETTING.search(text, line, end) is not None


def rm_reach(text: str, start: int) -> str:
    """Returns the reach of an ``rm`` that begins at `start`.

    Returns:
        ``root`` for the root, the home, a system folder or a drive; ``wide`` for a recursive removal of everything
        here or of a folder at the top of the tree; empty for anything narrower.
    """
    command = iter(full_parsers.shell_words(text, start) or _read(text, start))
    next(command, None)
    recursive = force = False
    targets: list[str] = []
    for number, word in enumerate(command):
        low = word.lower()
        if low == "--no-preserve-root":
            return "root"
        if word.startswith("--") and len(word) > 2:
            recursive = recursive or low == "--recursive"
            force = force or low == "--force"
        elif word.startswith("-") and len(word) > 1:
            recursive = recursive or "r" in low
            force = force or "f" in low
        elif number and word:
            targets.append(word)
            if not word.startswith(("/", "~", "$", ".", "*", "C:", "c:", "%")):
                break  # prose goes on behind a quoted command; its words are no targets
    if not recursive:
        return "wide" if force and any(target in {"/*", "~/*", "$HOME/*"} for target in targets) else ""
    reaches = {_reach(target.rstrip(".,!?") or target) for target in targets}
    return "root" if "root" in reaches else "wide" if "wide" in reaches else ""


def _reach(target: str) -> str:
    if target in _WHOLE:
        return "root"
    if target in _HERE:
        return "wide"
    if _SCRATCH.search(target) or not target.startswith("/"):
        return ""
    parts = [part for part in target.split("/") if part and part != "."]
    if parts and parts[-1] in {"*", ".*"}:
        parts.pop()
    if not parts:
        return "root"
    if parts[0].lower() in _SYSTEM:
        return (
            "root" if len(parts) == 1 or parts[0].lower() in {"bin", "boot", "dev", "lib", "sbin"} else _second(parts)
        )
    if parts[0].lower() in _STORES:
        return "root"
    return "wide" if len(parts) == 1 else ""


_STORES = frozenset({"backup", "backups", "database", "databases", "mnt", "media", "storage"})
"""Folders at the top of the tree that hold data by custom."""

_REBUILT = frozenset({"apt", "dpkg", "cache", "docker"})
"""Folders of ``/var/lib`` that a package manager or an image fills again."""


def _second(parts: list[str]) -> str:
    """Returns ``root`` for a path one step below a system folder, such as ``/usr/lib`` or ``/home/ann``; else nothing.

    A folder of ``/var/lib`` counts as well, unless a package manager or an image fills it again.
    """
    if len(parts) > 2 and [part.lower() for part in parts[:2]] == ["var", "lib"]:
        return "" if parts[2] in _REBUILT else "root"
    return "root" if len(parts) == 2 and parts[0].lower() in {"usr", "etc", "home", "var", "system", "users"} else ""
