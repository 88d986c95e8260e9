"""Files of compiled rules: the one of the package, and the private ones of the user.

The name of a private file is a hash of everything that its content depends on. A file of the cache carries a keyed
digest (HMAC-SHA256 with the key of the deployment): a file that somebody else wrote, changed or emptied is reported and
not used. The file of the package is trusted as its code is.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import platform
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cylestio_monitor._version import __version__
from cylestio_monitor.scan.matching.compiled_set import CompiledSet

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger(__name__)
_MAGIC = b"cylestio-rules-6"
_DIGEST = 32
_READ = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # each exists on some systems only
    _READ |= getattr(os, _flag, 0)
_KEPT = 12  # files of other settings or versions that stay
SHIPPED = Path(__file__).with_name("shipped_rules.bin")
"""The compiled rules of the package, written when the package is built or installed from a checkout."""


def stamp(files: Iterable[Path], *parts: object) -> str:
    """Returns a hash of everything that compiled rules depend on, files by their contents: 24 hexadecimal digits."""
    made_from = hashlib.sha256(repr((__version__, *parts)).encode("utf-8", "surrogatepass"))
    for file in files:
        try:
            content = file.read_bytes()
        except OSError:
            content = b"missing"
        made_from.update(f"{file.name}:{len(content)}:".encode("utf-8", "surrogatepass") + content)
    return made_from.hexdigest()[:24]


def load_shipped(name: str) -> CompiledSet | None:
    """Returns the compiled rules of the package; ``None`` where they are of other sources than those in use.

    Args:
        name: Stamp of the sources.
    """
    try:
        raw = SHIPPED.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + len(name)
    if raw[:head] != _MAGIC + name.encode():
        return None
    try:
        return msgspec.msgpack.decode(memoryview(raw)[head:], type=CompiledSet)
    except msgspec.MsgspecError as error:
        _log.warning("%s is damaged and is not used: %s", SHIPPED, error)
        return None


def save_shipped(name: str, compiled: CompiledSet) -> None:
    """Writes the file of the package.

    Args:
        name: Stamp of the sources.
        compiled: The compiled rules of the package.
    """
    # Not compressed, which would take a fifth of the time of the first call; a wheel compresses its files.
    packed = msgspec.msgpack.encode(compiled)
    temporary = SHIPPED.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(_MAGIC + name.encode() + packed)
    temporary.replace(SHIPPED)


class RuleCache:
    """The private files of one deployment."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Takes the folder and the key.

        Args:
            folder: Created when the first file is written, readable by its owner only.
            key: Key of the deployment.
        """
        self._folder = folder
        self._key = hashlib.blake2b(key, person=b"cylestio-rules", digest_size=_DIGEST).digest()
        # The databases fit one kind of machine; files of another key cannot be checked with this one.
        place = repr((platform.machine(), platform.system(), sys.version_info[:2], self._digest(b"name").hex()))
        self._place = hashlib.sha256(place.encode()).hexdigest()[:8]

    def _digest(self, body: bytes | memoryview) -> bytes:
        return hmac.new(self._key, body, hashlib.sha256).digest()

    def _path(self, name: str) -> Path:
        return self._folder / f"rules-{name}-{self._place}.bin"

    def load(self, name: str) -> CompiledSet | None:
        """Returns the compiled rules of that stamp; ``None`` where no file can be used."""
        path = self._path(name)
        try:
            descriptor = os.open(path, _READ)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    _log.warning("%s is no regular file and is not used", path)
                    return None
                if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
                    _log.warning("%s may be written by others and is not used", path)
                    return None
                raw = file.read()
        except OSError:
            return None
        body = memoryview(raw)[len(_MAGIC) + _DIGEST :]
        digest = raw[len(_MAGIC) : len(_MAGIC) + _DIGEST]
        if raw[: len(_MAGIC)] != _MAGIC or not hmac.compare_digest(digest, self._digest(body)):
            _log.warning("%s was not written by this deployment or is damaged; the rules are compiled again", path)
            return None
        try:
            return msgspec.msgpack.decode(body, type=CompiledSet)
        except msgspec.MsgspecError:
            _log.info("%s is of another version; the rules are compiled again", path)
            return None

    def save(self, name: str, compiled: CompiledSet) -> None:
        """Writes a file, whole or not at all, readable by its owner only.

        A failure is logged; the next start compiles again.
        """
        body = msgspec.msgpack.encode(compiled)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            import tempfile  # noqa: PLC0415 -- it takes milliseconds, and most processes write no file

            descriptor, temporary = tempfile.mkstemp(prefix="rules-", suffix=".tmp", dir=self._folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_MAGIC + self._digest(body) + body)
                Path(temporary).replace(self._path(name))
            except OSError:
                Path(temporary).unlink()
                raise
            self._remove_old()
        except OSError as error:
            _log.info("the compiled rules cannot be kept in %s: %s", self._folder, error)

    def _remove_old(self) -> None:
        files = sorted(self._folder.glob("rules-*.bin"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for file in files[_KEPT:]:
            file.unlink(missing_ok=True)
