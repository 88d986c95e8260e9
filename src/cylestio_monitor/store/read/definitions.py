"""Reads of the pinned tool definitions: one row per tool, with the version in use and the one that was approved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

_MOST: Final = 20_000


class _NamedTool(msgspec.Struct, frozen=True):
    server: str
    name: str

    @property
    def full_name(self) -> str:
        """``server/tool``, or the tool's name where there is no server."""
        return f"{self.server}/{self.name}" if self.server else self.name


class ToolVersionRow(_NamedTool, frozen=True):
    """One version of a tool's definition.

    Attributes:
        server: The MCP server; empty for tools of the application.
        name: The tool's name.
        digest: SHA-256 of the definition, hexadecimal.
        definition: The definition as JSON.
        state: ``seen``, ``approved`` or ``refused``.
        first_ns: First seen, in ns since the epoch.
        last_ns: Last seen by a process that met it anew, in ns since the epoch.
        decided_ns: Time of the decision.
        decided_by: Who decided.
    """

    digest: str
    definition: str
    state: str
    first_ns: int
    last_ns: int
    decided_ns: int | None
    decided_by: str | None


class PinnedTool(_NamedTool, frozen=True):
    """One tool with the versions of its definition.

    Attributes:
        server: The MCP server; empty for tools of the application.
        name: The tool's name.
        state: ``seen``, ``approved``, ``refused``, or ``changed`` since a version was approved.
        digest: Digest of the version that was met last.
        approved: Digest of the version that was approved last; empty where none was.
        versions: Number of versions.
        first_ns: First seen, in ns since the epoch.
        last_ns: Last seen, in ns since the epoch.
        decided_by: Who decided about the version that was met last.
    """

    state: str
    digest: str
    approved: str
    versions: int
    first_ns: int
    last_ns: int
    decided_by: str | None


def versions(
    connection: sqlite3.Connection, server: str | None = None, name: str | None = None, *, given: str | None = None
) -> list[ToolVersionRow]:
    """The versions of tool definitions, the latest seen first.

    Args:
        connection: From `queries.connect`.
        server: Of this server only; the empty name is that of the application.
        name: Of tools with this name only.
        given: Of tools with this name, or this ``server/tool``, only.
    """
    fields = ", ".join(ToolVersionRow.__struct_fields__)
    rows = connection.execute(
        f"SELECT {fields} FROM tool_definition WHERE (?1 IS NULL OR server = ?1) AND (?2 IS NULL OR name = ?2) "  # noqa: S608 -- names of columns
        "AND (?3 IS NULL OR ?3 IN (name, server || '/' || name)) ORDER BY last_ns DESC, id DESC LIMIT ?4",
        (server, name, given, _MOST),
    )
    return [ToolVersionRow(*row) for row in rows]


def pinned_tools(connection: sqlite3.Connection, given: str | None = None) -> list[PinnedTool]:
    """The tools whose definitions were met, sorted by server and name.

    Args:
        connection: From `queries.connect`.
        given: Those with this name, or this ``server/tool``, only.
    """
    return pinned(versions(connection, given=given))


def pinned(rows: Iterable[ToolVersionRow]) -> list[PinnedTool]:
    """The tools that versions are of, sorted by server and name.

    Args:
        rows: From `versions`, all of each tool.
    """
    by_tool: dict[tuple[str, str], list[ToolVersionRow]] = {}
    for one in rows:
        by_tool.setdefault((one.server, one.name), []).append(one)
    return [_pinned(found) for _, found in sorted(by_tool.items())]


def find_tool(connection: sqlite3.Connection, given: str) -> PinnedTool:
    """A tool by ``server/tool``, or by its name where one server alone has it.

    Raises:
        StoreError: There is no such tool, or several servers have one of that name.
    """
    found = [one for one in pinned_tools(connection, given) if given in {one.full_name, one.name}]
    exact = [one for one in found if one.full_name == given]
    if len(exact) == 1:
        return exact[0]
    if not found:
        raise StoreError(f"no definition of a tool {given} was met; `cylestio tools list` shows all")
    if len(found) > 1:
        raise StoreError(f"several servers have a tool {given}: {', '.join(one.full_name for one in found)}")
    return found[0]


def find_version(connection: sqlite3.Connection, tool: PinnedTool, digest: str) -> ToolVersionRow:
    """A version of a tool by its digest, or by what that begins with.

    Raises:
        StoreError: There is not exactly one such version.
    """
    found = [one for one in versions(connection, tool.server, tool.name) if digest and one.digest.startswith(digest)]
    if len(found) != 1:
        raise StoreError(f"{len(found) or 'no'} versions of {tool.full_name} begin with {digest}")
    return found[0]


def version_before(versions: Sequence[ToolVersionRow], tool: PinnedTool, digest: str) -> ToolVersionRow | None:
    """The version that another one is compared with: the approved one, or else the one before; `None` without others.

    Args:
        versions: The versions of the tool, the latest seen first.
        tool: The tool.
        digest: Digest of the other version.
    """
    others = [one for one in versions if one.digest != digest]
    return next((one for one in others if one.digest == tool.approved), others[0] if others else None)


def _pinned(found: list[ToolVersionRow]) -> PinnedTool:
    current = found[0]
    approved = [one for one in found if one.state == "approved"]
    latest = max(approved, key=lambda one: one.decided_ns or 0, default=None)
    return PinnedTool(
        current.server,
        current.name,
        "changed" if current.state == "seen" and approved else current.state,
        current.digest,
        latest.digest if latest is not None else "",
        len(found),
        min(one.first_ns for one in found),
        current.last_ns,
        current.decided_by,
    )
