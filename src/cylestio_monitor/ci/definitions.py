"""Tool definitions in a build: read from an `mcp.json` or a saved listing, compared with a committed file of pins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cylestio_monitor.capture.mcp import messages
from cylestio_monitor.ci import files, mcp_servers
from cylestio_monitor.ci.findings import PlacedFinding
from cylestio_monitor.errors import CylestioError
from cylestio_monitor.govern.definitions import Definition, Pins, ToolDefinitions, difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.model import Finding, ToolDefinition
    from cylestio_monitor.scan import Scanner

_SERVERS: Final = ("mcpServers", "servers")


class ServerListing(NamedTuple):
    """The tools of one server.

    Attributes:
        file: The file that names the server or holds the listing.
        server: The name that the server gives itself, as monitoring knows it, or else its name in the file; empty for
            a saved listing of one server.
        tools: The definitions.
        text: The text of the file, for the lines of findings.
        entry: The name of the server in an `mcp.json`.
    """

    file: str
    server: str
    tools: list[ToolDefinition]
    text: str
    entry: str = ""


class ReadFile(NamedTuple):
    """The listings of a file, and what could not be read."""

    listings: list[ServerListing]
    problems: list[str]


class Checked(NamedTuple):
    """The result of a check.

    Attributes:
        findings: The findings.
        definitions: The definitions that were listed, by server and name.
        missing: Tools of the pins that were not listed.
        diff: Lines of the diffs of changed definitions.
    """

    findings: list[PlacedFinding]
    definitions: dict[tuple[str, str], Definition]
    missing: list[str]
    diff: list[str]


def read(path: str, *, start: bool, timeout_s: float) -> ReadFile:
    """Reads an `mcp.json`, or the saved answer to ``tools/list`` of one server or of several by name.

    Args:
        path: The file.
        start: Whether the servers of an `mcp.json` are started.
        timeout_s: Seconds that one server may take.

    Raises:
        CylestioError: The file cannot be read, or is neither.
    """
    text = files.read(path).text
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CylestioError(f"{path}: is no JSON") from error
    servers = _servers(document)
    if servers is None:
        return ReadFile(
            [ServerListing(path, server, _tools(tools), text) for server, tools in _saved(document, path)], []
        )
    if not start:
        raise CylestioError(f"{path}: names servers, which are programs: give --start to start them")
    listings, problems = [], []
    for name, entry in servers.items():
        try:
            own_name, tools = mcp_servers.list_tools(entry, timeout_s=timeout_s)
        except (CylestioError, OSError) as error:
            problems.append(f"{path}: {name}: {error}")
        else:
            listings.append(ServerListing(path, own_name or name, _tools(tools), text, name))
    return ReadFile(listings, problems)


def check(listings: Sequence[ServerListing], pins: Pins, scanner: Scanner) -> Checked:
    """Compares listings with the pins, and scans them."""
    known = ToolDefinitions(refuses="unapproved", storage=pins)
    found: list[PlacedFinding] = []
    definitions: dict[tuple[str, str], Definition] = {}
    for listing in listings:
        scanned = [one for tool in listing.tools for one in scanner.tool_definition(tool, target="input")]
        # A saved listing of one server names no server: it is compared as one all the same.
        raised, _ = known.observe(listing.tools, listing.server or listing.file, found=scanned)
        definitions.update({(listing.server or listing.file, tool.name): Definition.of(tool) for tool in listing.tools})
        found += [_placed(one, listing) for one in (*scanned, *raised) if one.severity != "none"]
    names = [f"{server}/{name}" for server, name in pins.approved if (server, name) not in definitions]
    lines = []
    for (server, name), one in sorted(definitions.items()):
        digest, before = pins.approved.get((server, name), ("", ""))
        if before and digest != one.digest:
            lines += difference(before, json.dumps(one.content), f"{server}/{name} (approved)", f"{server}/{name}")
    return Checked(found, definitions, sorted(names), lines)


def _servers(document: object) -> dict[str, dict[str, Any]] | None:
    """The servers of an `mcp.json`; ``None`` where the document is none."""
    if not isinstance(document, dict):
        return None
    inner = document.get("mcp", document)
    for key in _SERVERS:
        servers = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(servers, dict):
            return {str(name): entry for name, entry in servers.items() if isinstance(entry, dict)}
    return None


def _saved(document: Any, path: str) -> list[tuple[str, list[Any]]]:
    """The listings of a saved answer: one without a name, or several by server."""
    if isinstance(document, dict) and isinstance(document.get("result"), dict):
        document = document["result"]
    if isinstance(document, dict) and isinstance(document.get("tools"), list):
        return [("", document["tools"])]
    if isinstance(document, list):
        return [("", document)]
    if isinstance(document, dict) and document:
        return [(str(name), _saved(value, path)[0][1]) for name, value in document.items()]
    raise CylestioError(f"{path}: is neither an mcp.json nor an answer to tools/list")


def _tools(listed: list[Any]) -> list[ToolDefinition]:
    """The definitions as monitoring reads them from a server's answer."""
    return messages.read_result(messages.LIST_TOOLS, {"tools": listed}).tools


def _placed(finding: Finding, listing: ServerListing) -> PlacedFinding:
    number = int(finding.path.partition("[")[2].partition("]")[0])
    tool = next(one for one in listing.tools if one.path == f"tools[{number}]")
    line, column = _line_of(listing, tool.name)
    return PlacedFinding(
        rule_id=finding.rule_id,
        category=finding.category,
        severity=finding.severity,
        target=finding.target,
        subtype=finding.subtype,
        file=listing.file,
        line=line,
        column=column,
        end_column=column + 1,
        path=f"{listing.server or listing.file}/{tool.name}",
        owasp=finding.owasp,
        atlas=finding.atlas,
        match_hash=finding.match_hash or Definition.of(tool).digest[:16],
    )


def _line_of(listing: ServerListing, tool: str) -> tuple[int, int]:
    """Line and column of a tool in a saved listing, else of its server in an `mcp.json`, from 1."""
    for name in (tool, listing.entry or listing.server):
        place = listing.text.find(json.dumps(name)) if name else -1
        if place >= 0:
            return listing.text.count("\n", 0, place) + 1, place - listing.text.rfind("\n", 0, place)
    return 1, 1
