"""The folder of a text that is a file path, as a receiver of the text may read it."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_PATH: Final = re.compile(r"(?:[a-z]:)?[~.\w@+ -]*(?:[/\\][\w.@+~% -]*)+|[\w.@+~-]{1,255}", re.IGNORECASE)
_MAX_PATH: Final = 4096
_MOST_READINGS: Final = 2
_ESCAPED_DOT: Final = re.compile(r"%2e", re.IGNORECASE)


def folders_of(text: str) -> tuple[str, ...]:
    r"""Returns the normalised folders of a text that is one file path, ``..`` resolved; empty for another text.

    There are two where readers disagree: those that resolve ``..`` before they undo an escape or take ``\`` for a
    separator see another folder (``/a%2fb/../etc/x``) than those that do it after, and so do those that undo escapes
    twice. A text with more readings is no path.
    """
    path = text.strip()
    is_prose = " " in path and "/" not in path and "\\" not in path
    if is_prose or len(path) > _MAX_PATH or not _PATH.fullmatch(path):
        return ()
    decoded = normal_path(path)
    as_written = posixpath.normpath(re.sub(r"/{2,}", "/", path))
    readings = {decoded: None}
    # A folder whose name holds an escaped dot does not exist: nobody reads that path as it is written.
    if not _ESCAPED_DOT.search(as_written) and normal_path(as_written) != decoded:
        readings[as_written] = None
    if "%" in decoded:
        readings[normal_path(decoded)] = None
    return tuple(posixpath.dirname(path) or "." for path in readings) if len(readings) <= _MOST_READINGS else ()


@lru_cache(maxsize=1024)
def normal_path(text: str) -> str:
    """Returns a path with one kind of separator, percent encoding and ``..`` resolved; symbolic links are not."""
    path = unquote(text).replace("\\", "/")
    return posixpath.normpath(re.sub(r"/{2,}", "/", path))


def from_home(path: str) -> str:
    """Returns a normalised path with the home folder in place of ``~``; the path itself where that is not known."""
    if not path.startswith("~"):
        return path
    try:
        return posixpath.normpath(Path(path).expanduser().as_posix())
    except RuntimeError:
        return path


def is_below(path: str, folder: str) -> bool:
    """Returns whether a normalised path is a folder or lies below it."""
    return path.startswith(folder) and (folder in {path, "/"} or path[len(folder)] == "/")


def leads_out(path: str) -> bool:
    """Returns whether a relative path leads to a place that depends on the folder of the process: ``../../etc/x``."""
    return path == ".." or path.startswith("../")
