"""Incidents: the list, one incident with what it touched, and what people do with it."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from starlette.responses import Response
from starlette.routing import Route

from cylestio_monitor.errors import StoreError, counted
from cylestio_monitor.incidents import bundle
from cylestio_monitor.store import triage
from cylestio_monitor.store.read import incidents as reads
from cylestio_monitor.store.read import lists
from cylestio_monitor.store.read.control import user_name
from cylestio_monitor.store.read.pages import read_page
from cylestio_monitor.store.sqlite.records import IncidentState
from cylestio_monitor.web import filters, view

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request

    from cylestio_monitor.store.read.incidents import Incident
    from cylestio_monitor.store.read.lists import IncidentRow

_STATES: Final[tuple[IncidentState, ...]] = get_args(IncidentState)
_FIELDS: Final = (("status", (*_STATES, "all")), ("since", ()))
_ID: Final = re.compile(r"[0-9a-f]{1,32}")
_TIMELINE: Final = 200
_MOST_TEXT: Final = 4000
_MOST_NAME: Final = 200


def show_all(request: Request) -> Response:
    """The incidents, the newest first; without a status only those that are open."""
    chosen = filters.read(request, [name for name, _ in _FIELDS], {"status": "open"})
    status = chosen.get("status")
    if status not in {None, *_STATES}:
        raise view.PageError("The filter status is open, closed or all.")
    with view.reading(request) as connection:
        conditions = {"state": status, "since_ns": chosen.since_ns}
        page = read_page(connection, lists.INCIDENTS, conditions, cursor=chosen.cursor, limit=50)
    values = {"rows": page.rows, "paging": filters.paging(page, chosen), "filters": chosen, "fields": _FIELDS}
    return view.page(request, "incidents.html", values, title="Incidents")


def open_one(request: Request) -> Response:
    """Opens an incident on a finding, a trace, a session or a group."""
    fields = view.form(request)
    kinds: tuple[reads.Kind, ...] = get_args(reads.Kind)
    kind = next((one for one in kinds if one == fields.get("kind")), None)
    if kind is None:
        raise view.PageError(f"An incident is about a {', '.join(kinds[:-1])} or {kinds[-1]}.")
    with view.reading(request) as connection:
        try:
            subject = reads.resolve(connection, fields.get("ref", ""), kind)
        except StoreError as error:
            raise view.PageError(f"{str(error).capitalize()}.", 404) from error
    title = fields.get("title", "").strip()[:_MOST_NAME] or subject.title
    site = view.site(request)
    made = triage.open_incident(
        site.path,
        site.loaded.settings.store,
        title,
        by=user_name(),
        severity_number=subject.severity_number,
        items=((subject.kind, subject.ref),),
    )
    return view.see_other(f"/incidents/{made}")


def show(request: Request) -> Response:
    """One incident: where it began, what it touched, and what happened when."""
    with view.reading(request) as connection:
        found = reads.examine(connection, _existing(request, connection))
    values: dict[str, Any] = {
        "found": found,
        "row": found.row,
        "timeline": found.timeline[:_TIMELINE],
        "touched": _touched(found),
        "titles": view.site(request).titles,
    }
    return view.page(request, "incident.html", values, title=found.row.title)


def change(request: Request) -> Response:
    """Sets owner or state of an incident."""
    fields = view.form(request)
    state = next((one for one in _STATES if one == fields.get("state")), None)
    owner = fields.get("owner", "").strip() or None
    if fields.get("state") and state is None:
        raise view.PageError("The state of an incident is open or closed.")
    if owner is not None and len(owner) > _MOST_NAME:
        raise view.PageError(f"A name has at most {_MOST_NAME} characters.")
    with view.reading(request) as connection:
        row = _existing(request, connection)
    site = view.site(request)
    triage.change_incident(site.path, site.loaded.settings.store, row.id, by=user_name(), state=state, owner=owner)
    return view.see_other(f"/incidents/{row.id}")


def note(request: Request) -> Response:
    """Adds a note to an incident."""
    text = view.form(request).get("text", "").strip()
    if not text or len(text) > _MOST_TEXT:
        raise view.PageError(f"A note has between 1 and {_MOST_TEXT:,} characters.")
    with view.reading(request) as connection:
        row = _existing(request, connection)
    site = view.site(request)
    triage.add_note(site.path, site.loaded.settings.store, "incident", row.id, by=user_name(), text=text)
    return view.see_other(f"/incidents/{row.id}#notes")


def export(request: Request) -> Response:
    """Sends the bundle of evidence as a ZIP file."""
    with view.reading(request) as connection:
        row = _existing(request, connection)
    site = view.site(request)
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bundle"
        made = bundle.export(site.path, site.loaded.settings.store, row.id, target, by=user_name())
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(target.iterdir()):
                archive.write(file, f"incident-{row.id}/{file.name}")
    headers = {
        "content-disposition": f'attachment; filename="incident-{row.id}.zip"',
        "x-cylestio-public-key": made.public_key,
    }
    return Response(packed.getvalue(), media_type="application/zip", headers=headers)


def _existing(request: Request, connection: sqlite3.Connection) -> IncidentRow:
    incident = request.path_params["incident"]
    rows = read_page(connection, lists.INCIDENTS, {"id": incident}, limit=1).rows if _ID.fullmatch(incident) else []
    if not rows:
        raise view.PageError("There is no such incident.", 404)
    found: IncidentRow = rows[0]
    return found


def _touched(found: Incident) -> list[tuple[str, str, str, str]]:
    """Rows of what was touched: kind, name, extent and severity."""
    radius = found.radius
    rows = [
        ("tool", one.tool, f"{one.calls:,} calls, {one.blocked:,} refused, {one.failed:,} failed", one.severity)
        for one in radius.tools
    ]
    rows += [
        ("value", f"{one.kind} to {one.tool or 'a tool'}, {one.argument}", f"first said by {one.origin}", "")
        for one in radius.values
    ]
    rows += [
        (kind, one.name, counted(one.count, "time") + (f", {one.distinct:,} different" if one.distinct else ""), "")
        for kind, members in radius.touched
        for one in members
    ]
    return rows


ROUTES: Final = [
    Route("/incidents", show_all),
    Route("/incidents", open_one, methods=["POST"]),
    Route("/incidents/{incident}", show),
    Route("/incidents/{incident}/change", change, methods=["POST"]),
    Route("/incidents/{incident}/note", note, methods=["POST"]),
    Route("/incidents/{incident}/export", export, methods=["POST"]),
]
