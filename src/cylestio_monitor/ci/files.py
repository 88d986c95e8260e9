"""The files that a scan reads: explicit paths, folders, glob patterns and standard input."""

from __future__ import annotations

import errno
import glob
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.errors import CylestioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STDIN: Final = "-"
MAX_BYTES: Final = 64 << 20
"""Largest file that is read, in bytes."""

SUFFIXES: Final = frozenset(
    {
        *(".md", ".mdc", ".mdx", ".txt", ".rst", ".prompt", ".prompty", ".j2", ".jinja", ".jinja2", ".tmpl", ".xml"),
        *(".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".toml", ".csv", ".html"),
        *(".cursorrules", ".windsurfrules", ".clinerules"),
    }
)
"""Suffixes, or whole names, of the files that are read inside a folder."""

_SKIPPED: Final = frozenset(
    {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".mypy_cache", ".ruff_cache"}
)


class TextFile(NamedTuple):
    """A file to scan.

    Attributes:
        name: The path as given or found; ``-`` for standard input.
        text: The content; bytes that are no UTF-8 read as U+FFFD.
    """

    name: str
    text: str


def find(paths: Iterable[str]) -> Iterator[str]:
    """Yields every file that the paths name, once, in a fixed order.

    Args:
        paths: Files, folders, glob patterns, or ``-``.

    Raises:
        CylestioError: A path does not exist, or a pattern matches nothing.
    """
    seen: set[str] = set()
    for path in paths:
        for name in _expand(path):
            if name not in seen:
                seen.add(name)
                yield name


def read(name: str) -> TextFile:
    """Reads one file, whatever it holds.

    Raises:
        CylestioError: The file cannot be read, or is too large.
    """
    try:
        if name == STDIN:
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CylestioError(f"{name}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise CylestioError(f"{name}: larger than {MAX_BYTES >> 20} MiB")
    return TextFile(name, raw.decode("utf-8", "replace").removeprefix("\ufeff"))


def _expand(path: str) -> Iterator[str]:
    if path == STDIN or Path(path).is_file():
        yield path
    elif Path(path).is_dir():
        yield from _walk(path)
    elif Path(path).exists():
        yield path  # a pipe, such as the one that a shell makes of <(command)
    elif glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 -- the pattern may be absolute
        if not found:
            raise CylestioError(f"{path}: {os.strerror(errno.ENOENT)}")
        yield from (name for name in found if Path(name).is_file())
    else:
        raise CylestioError(f"{path}: {os.strerror(errno.ENOENT)}")


def _walk(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = os.path.join(parent, name)  # noqa: PTH118 -- keeps the path as the user wrote it
            if (Path(name).suffix.lower() or name.lower()) in SUFFIXES and _is_regular(path):
                yield path


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
