"""The file of approved tool definitions that a project commits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.errors import CylestioError
from cylestio_monitor.govern.definitions.registry import KnownVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cylestio_monitor.govern.definitions.content import Definition
    from cylestio_monitor.govern.definitions.registry import SeenVersion

_VERSION: Final = 1


class Pins(NamedTuple):
    """The approved definitions of a committed file; a `DefinitionStore` that keeps nothing new.

    Attributes:
        approved: Digest and definition as JSON, by server and name.
    """

    approved: Mapping[tuple[str, str], tuple[str, str]]

    def load(self) -> Iterable[KnownVersion]:
        """All versions."""
        return [KnownVersion(*key, digest, "approved", 0) for key, (digest, _) in self.approved.items()]

    def add(self, _: SeenVersion) -> None:
        """Keeps nothing: the file changes where the user asks for it."""

    def definition(self, server: str, name: str, digest: str) -> str | None:
        """The approved definition as JSON, where it has this digest."""
        known = self.approved.get((server, name), ("", ""))
        return known[1] if known[0] == digest else None


def load_pins(path: Path) -> Pins:
    """Reads a file of pins.

    Raises:
        CylestioError: The file cannot be read, or is none of pins.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["version"] != _VERSION:
            raise CylestioError(f"{path}: has version {document['version']}, this release reads version {_VERSION}")
        found = {}
        for one in document["tools"]:
            server, name, digest = (str(one[key]) for key in ("server", "name", "digest"))
            found[server, name] = digest, json.dumps(one["definition"])
        return Pins(found)
    except OSError as error:
        raise CylestioError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CylestioError(f"{path}: is no file of tool definitions of `cylestio`") from error


def save_pins(path: Path, definitions: Mapping[tuple[str, str], Definition]) -> None:
    """Writes a file of pins that approves these definitions.

    Raises:
        CylestioError: The file cannot be written.
    """
    entries: list[dict[str, Any]] = [
        {"server": server, "name": name, "digest": one.digest, "definition": msgspec.to_builtins(one.content)}
        for (server, name), one in sorted(definitions.items())
    ]
    try:
        path.write_text(json.dumps({"version": _VERSION, "tools": entries}, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise CylestioError(f"{path}: {error.strerror}") from error
