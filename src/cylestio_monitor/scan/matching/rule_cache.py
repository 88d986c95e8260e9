"""The compiled rules on disk, so that a start neither reads YAML nor compiles.

One private file per set of rules, settings and engine. Its name is what it was made from, and a checksum stands in
front: a file that is damaged, or of another version, is built anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import sys
import tempfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor.errors import ConfigError
from cylestio_monitor.scan.matching.compiled_rule import Catalogue  # noqa: TC001
from cylestio_monitor.scan.matching.engine import Index  # noqa: TC001 -- msgspec reads the annotations when it decodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cylestio_monitor.config import Settings

_log = logging.getLogger(__name__)
_MAGIC = b"cylestio-rules-3"
_KEPT = 6  # files of other settings or versions that stay


class Kept(msgspec.Struct, array_like=True):
    """One group of rules, ready to be searched with.

    Attributes:
        index: The group's literals.
        databases: The engine's serialised databases; none where the engine is not installed.
    """

    index: Index
    databases: list[bytes]


class Cached(msgspec.Struct, array_like=True):
    """What one file holds.

    Attributes:
        catalogue: The plans and the rules.
        problems: Reason, source, line and key of what could not be used.
        groups: The groups of rules.
    """

    catalogue: Catalogue
    problems: list[tuple[str, str, int | None, str]]
    groups: list[Kept] = []

    def errors(self) -> list[ConfigError]:
        """The problems, as they were when the rules were read."""
        return [ConfigError(reason, source=source, line=line, key=key) for reason, source, line, key in self.problems]


def stamp(files: Iterable[Path], settings: Settings, engine: str | None) -> str:
    """What the cached file is named by: everything the result hangs on, hashed."""
    made_from: list[object] = [_version(), engine, platform.machine(), sys.version_info[:2]]
    for file in files:
        try:
            status = file.stat()
        except OSError:
            made_from.append((str(file), "missing"))
            continue
        made_from.append((str(file), status.st_size, status.st_mtime_ns))
    keywords, rules = settings.keywords, settings.rules
    made_from.append((keywords.suspicious, keywords.dangerous, keywords.defaults, rules.experimental))
    made_from.append((settings.scan.locales, [(item.rule, item.severity) for item in rules.override]))
    return hashlib.sha256(repr(made_from).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _version() -> str:
    try:
        return metadata.version("cylestio-monitor")
    except metadata.PackageNotFoundError:
        return "source"


def load(folder: Path, name: str) -> Cached | None:
    """The cached file of that stamp, and ``None`` where there is none that can be used."""
    path = folder / f"rules-{name}.bin"
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
                _log.warning("%s may be written by others and is not used", path)
                return None
            raw = file.read()
    except OSError:
        return None
    body = memoryview(raw)[len(_MAGIC) + 4 :]
    if raw[: len(_MAGIC)] != _MAGIC or zlib.crc32(body) != int.from_bytes(raw[len(_MAGIC) : len(_MAGIC) + 4], "big"):
        _log.info("%s is damaged and is built anew", path)
        return None
    try:
        return msgspec.msgpack.decode(body, type=Cached)
    except msgspec.MsgspecError:
        _log.info("%s is of another version and is built anew", path)
        return None


def save(folder: Path, name: str, catalogue: Catalogue, problems: Sequence[ConfigError], groups: list[Kept]) -> None:
    """Writes the file, whole or not at all, readable by its owner only; a failure is logged and costs a later start."""
    rows = [(problem.reason, problem.source, problem.line, problem.key) for problem in problems]
    body = msgspec.msgpack.encode(Cached(catalogue, rows, groups))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix="rules-", suffix=".tmp", dir=folder)  # 0600 by itself
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + zlib.crc32(body).to_bytes(4, "big") + body)
            Path(temporary).replace(folder / f"rules-{name}.bin")
        except OSError:
            Path(temporary).unlink()
            raise
        _forget_old(folder)
    except OSError as error:
        _log.info("the compiled rules cannot be kept in %s: %s", folder, error)


def _forget_old(folder: Path) -> None:
    files = sorted(folder.glob("rules-*.bin"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in files[_KEPT:]:
        file.unlink(missing_ok=True)
