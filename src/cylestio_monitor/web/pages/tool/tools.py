"""Tools: what agents can do, the definitions that models read, and the decisions about them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.routing import Route

from cylestio_monitor.errors import StoreError
from cylestio_monitor.govern.definitions import difference
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store import triage
from cylestio_monitor.store.read import control, definitions, lists, pages, totals
from cylestio_monitor.store.sqlite.usage import DAY_NS
from cylestio_monitor.web import filters, view
from cylestio_monitor.web.pages.tool.effects import ToolEffects

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.store.read.definitions import PinnedTool, ToolVersionRow
    from cylestio_monitor.store.sqlite.records import DefinitionState

_FIELDS: Final = (("since", ()), ("agent", ()), ("severity", SEVERITIES[1:]))
_DEFINITIONS: Final = 200  # definitions that one page lists
_VERSIONS: Final = 50
_LINES: Final = 400  # lines of a difference
_TEXT: Final = 20_000  # code points of a definition
_CALLS: Final = 25
_WEEK_NS: Final = 7 * DAY_NS
_KINDS: Final = {"approved": "good", "changed": "warn", "refused": "bad", "seen": ""}
_ORDER: Final = ("changed", "seen", "refused", "approved")
_DECISIONS: Final[dict[str, DefinitionState]] = {"approve": "approved", "refuse": "refused"}


def tools(request: Request) -> Response:
    """The definitions, those that need a decision first, and the tools that were called."""
    chosen = filters.read(request, [name for name, _ in _FIELDS])
    with view.reading(request) as connection:
        versions = definitions.versions(connection)
        page = lists.entities(
            connection,
            "tool",
            cursor=chosen.cursor,
            since_ns=chosen.since_ns,
            agent_id=chosen.get("agent"),
            min_severity=chosen.min_severity,
        )
    pinned = definitions.pinned(versions)
    pinned.sort(key=lambda one: (_ORDER.index(one.state), one.full_name))
    values: dict[str, Any] = {
        "definitions": pinned[:_DEFINITIONS],
        "left_out": max(0, len(pinned) - _DEFINITIONS),
        "changed": sum(one.state == "changed" for one in pinned),
        "rows": page.rows,
        "states": {one.name: one.state for one in pinned},
        "kinds": _KINDS,
        "effect": ToolEffects(view.site(request).loaded, versions),
        "paging": filters.paging(page, chosen),
        "filters": chosen,
        "fields": _FIELDS,
    }
    return view.page(request, "tools.html", values, title="Tools")


def show(request: Request) -> Response:
    """One tool: its definition and how it changed, its callers and its last calls."""
    return _page(request)


def _find(connection: sqlite3.Connection, name: str) -> PinnedTool | None:
    """The tool with a definition; `None` where none was met.

    Raises:
        PageError: Several servers have a tool of this name.
    """
    try:
        return definitions.find_tool(connection, name)
    except StoreError as error:
        if "several" in str(error):
            raise view.PageError(f"{error}.", 404) from error
        return None


def _page(request: Request, *, problem: str = "", status: int = 200) -> Response:
    name = request.path_params["tool"]
    since_ns = time.time_ns() - _WEEK_NS
    with view.reading(request) as connection:
        pinned = _find(connection, name)
        own = pinned.name if pinned is not None else name
        entity = next(iter(lists.entities(connection, "tool", name=own, limit=1).rows), None)
        if pinned is None and entity is None:
            raise view.PageError("No such tool was called, and no definition of it was met.", 404)
        versions = definitions.versions(connection, pinned.server, pinned.name) if pinned is not None else []
        callers = totals.usage(connection, "agent_id", since_ns=since_ns, tool=own, limit=50)
        calls = pages.read_page(connection, lists.SPANS, {"tool": own}, limit=_CALLS).rows
        decisions = pages.read_page(connection, lists.DECISIONS, {"tool": name}, limit=_CALLS).rows
    effect = ToolEffects(view.site(request).loaded, versions)
    before, after = _compared(versions, pinned)
    lines = difference(before.definition, after.definition, _label(before), _label(after)) if before and after else []
    values: dict[str, Any] = {
        "name": name,
        "effect": effect(pinned.full_name if pinned is not None else name),
        "pinned": pinned,
        "entity": entity,
        "versions": versions[:_VERSIONS],
        "current": after,
        "current_text": _indented(after)[:_TEXT] if after is not None else "",
        "lines": lines[:_LINES],
        "lines_left_out": max(0, len(lines) - _LINES),
        "callers": callers,
        "calls": calls,
        "decisions": decisions,
        "kinds": _KINDS,
        "problem": problem,
    }
    return view.page(request, "tool.html", values, title=f"Tool {name}", status=status)


def _compared(
    versions: list[ToolVersionRow], pinned: PinnedTool | None
) -> tuple[ToolVersionRow | None, ToolVersionRow | None]:
    """The version that was approved, or else the one before, and the version in use."""
    if pinned is None:
        return None, None
    after = next((one for one in versions if one.digest == pinned.digest), None)
    return definitions.version_before(versions, pinned, pinned.digest), after


def _label(version: ToolVersionRow) -> str:
    return f"{version.digest[:12]} ({version.state})"


def _indented(version: ToolVersionRow) -> str:
    """The definition as lines; a difference to nothing holds them all."""
    return "\n".join(line[1:] for line in difference("{}", version.definition)[3:] if line.startswith("+"))


def decide(request: Request) -> Response:
    """Approves or refuses one version. The form names the version and the state that were shown."""
    fields = view.form(request)
    shared = view.site(request)
    name = request.path_params["tool"]
    if fields.get("decision") not in _DECISIONS:
        raise view.PageError("The decision is approve or refuse.")
    with view.reading(request) as connection:
        pinned = _find(connection, name)
        if pinned is None:
            raise view.PageError("No definition of such a tool is stored.", 404)
        found = definitions.versions(connection, pinned.server, pinned.name)
    version = next((one for one in found if one.digest == fields.get("digest")), None)
    if version is None or version.state != fields.get("was"):
        return _page(request, problem="The definition has changed since this page was loaded.", status=409)
    triage.decide_tool(
        shared.path,
        shared.loaded.settings.store,
        server=version.server,
        name=version.name,
        digest=version.digest,
        state=_DECISIONS[fields["decision"]],
        by=control.user_name(),
    )
    return view.see_other(f"/tools/{quote(name, safe='')}")


ROUTES: Final = [
    Route("/tools", tools),
    Route("/tools/{tool:path}", show),
    Route("/tools/{tool:path}", decide, methods=["POST"]),
]
