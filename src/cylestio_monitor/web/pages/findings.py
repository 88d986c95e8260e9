"""Findings, grouped by the text that they flag: the list, one group, and the decisions about it."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, get_args

from starlette.routing import Route

from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store import triage
from cylestio_monitor.store.read import lists
from cylestio_monitor.store.read.control import user_name
from cylestio_monitor.store.read.conversation.places import Places
from cylestio_monitor.store.read.conversation.transcript import transcript
from cylestio_monitor.store.read.findings import finding_page, findings_of, opened
from cylestio_monitor.store.read.pages import count_rows, read_page
from cylestio_monitor.store.read.triage import groups
from cylestio_monitor.store.sqlite.records import GroupState
from cylestio_monitor.web import charts, excerpts, filters, view, wording
from cylestio_monitor.web.marks import Mark

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.store.read.lists import GroupRow

_STATUS: Final = ("open", "all", *wording.STATES)
_FIELDS: Final = (
    ("status", _STATUS),
    ("severity", SEVERITIES[1:]),
    ("since", ()),
    ("agent", ()),
    ("tool", ()),
    ("rule", ()),
    ("category", ()),
)
_ID: Final = re.compile(r"[\w.:-]{1,64}")
_MOST_NOTE: Final = 4000
_MOST_REASON: Final = 500
_MOST_CHOSEN: Final = 50
_RUNS_READ: Final = 3  # runs that are looked through for a recorded text
_FINDINGS_READ: Final = 500
_TEXT_SHOWN: Final = 16_384
_WHOLE: Final = 1 << 40  # beyond the end of every text


def findings(request: Request) -> Response:
    """The groups, the last seen first; without a status only those that are open."""
    chosen = filters.read(request, [name for name, _ in _FIELDS], {"status": "open"})
    status = chosen.get("status")
    if status not in {None, *wording.STATES}:
        raise view.PageError(f"The filter status is one of {', '.join(_STATUS)}.")
    now_ns = time.time_ns()
    conditions: dict[str, Any] = {
        "since_ns": chosen.since_ns,
        "of_agent": chosen.get("agent"),
        "tool": chosen.get("tool"),
        "rule_id": chosen.get("rule"),
        "category": chosen.get("category"),
        "min_severity": chosen.min_severity,
        "state": status if status != "open" else None,
        "open_at_ns": now_ns if status == "open" else None,
    }
    with view.reading(request) as connection:
        page = groups.group_page(connection, cursor=chosen.cursor, **conditions)
        total = count_rows(connection, lists.GROUPS, conditions)
        rows = [_listed(request, connection, group) for group in page.rows]
        ungrouped = 0 if page.rows else _ungrouped(connection)
    values = {
        "rows": rows,
        "total": total,
        "ungrouped": ungrouped,
        "paging": filters.paging(page, chosen),
        "filters": chosen,
        "fields": _FIELDS,
        "states": wording.STATES,
        "state_kinds": wording.STATE_KINDS,
    }
    return view.page(request, "findings.html", values, title="Findings")


def change_several(request: Request) -> Response:
    """Sets the state of the groups that were chosen in the list."""
    chosen = view.form_values(request, "group")[:_MOST_CHOSEN]
    if not chosen:
        raise view.PageError("No group was chosen. Go back and tick at least one.")
    for group in chosen:
        _set_state(request, _checked(group))
    return view.see_other(view.form(request).get("here") or "/findings")


def group(request: Request) -> Response:
    """One group: the facts, the latest text, its occurrences, the rules, and the decisions about it."""
    group_id = _checked(request.path_params["group"])
    now_ns = time.time_ns()
    titles = view.site(request).titles
    with view.reading(request) as connection:
        found = groups.details(connection, _existing(connection, group_id), now_ns)
        shown = _latest_text(request, connection, found)
        silences = read_page(connection, lists.SILENCES, {"group_id": group_id}, limit=20).rows
    days = [
        (datetime.fromtimestamp(begin / 1e9, timezone.utc).strftime("%d"), [(SEVERITIES[found.row.severity_number], n)])
        for begin, n in found.days
    ]
    heading = wording.title(found.row, titles)
    values = {
        "found": found,
        "row": found.row,
        "heading": heading,
        "place": wording.place(found.row),
        "shown": shown,
        "content": view.site(request).loaded.settings.content,
        "rules": [(titles(rule.rule_id), rule) for rule in found.rules],
        "states": wording.STATES,
        "state_kinds": wording.STATE_KINDS,
        "action_kinds": wording.ACTION_KINDS,
        "dismissed": triage.DISMISSED,
        "chart": charts.stacked(days, 90.0),
        "silences": silences,
        "surface": wording.surface,
    }
    return view.page(request, "finding.html", values, title=heading)


def change(request: Request) -> Response:
    """Sets the state of one group."""
    group_id = _checked(request.path_params["group"])
    _set_state(request, group_id)
    return view.see_other(f"/findings/{group_id}")


def note(request: Request) -> Response:
    """Adds a note to one group."""
    group_id = _checked(request.path_params["group"])
    text = view.form(request).get("text", "").strip()
    if not text or len(text) > _MOST_NOTE:
        raise view.PageError(f"A note has between 1 and {_MOST_NOTE:,} characters.")
    with view.reading(request) as connection:
        _existing(connection, group_id)
    site = view.site(request)
    triage.add_note(site.path, site.loaded.settings.store, "group", group_id, by=user_name(), text=text)
    return view.see_other(f"/findings/{group_id}#activity")


def silence(request: Request) -> Response:
    """Shows the entry of the settings file that silences the rule of a group, before it is recorded."""
    group_id = _checked(request.path_params["group"])
    with view.reading(request) as connection:
        row = _existing(connection, group_id)
        latest = _latest_hash(connection, row)
    values = {
        "row": row,
        "heading": wording.title(row, view.site(request).titles),
        "match_hash": latest,
        "settings_file": view.site(request).loaded.source,
    }
    return view.page(request, "silence.html", values, title="Silence a rule")


def add_silence(request: Request) -> Response:
    """Records a silence of the rule of a group."""
    group_id = _checked(request.path_params["group"])
    fields = view.form(request)
    reason = fields.get("reason", "").strip()
    if not reason or len(reason) > _MOST_REASON:
        raise view.PageError(f"A silence needs a reason of at most {_MOST_REASON} characters.")
    with view.reading(request) as connection:
        row = _existing(connection, group_id)
    site = view.site(request)
    triage.add_silence(
        site.path,
        site.loaded.settings.store,
        row.rule_id,
        by=user_name(),
        reason=reason,
        group_id=group_id,
        until_ns=_until(fields.get("until", "")),
    )
    return view.see_other(f"/findings/{group_id}")


def _listed(request: Request, connection: sqlite3.Connection, row: GroupRow) -> dict[str, Any]:
    runs, acted = groups.runs_of(connection, row.group_id), groups.acted_in(connection, row)
    is_over = row.until_ns is not None and row.until_ns <= time.time_ns()
    return {
        "group": row,
        "title": wording.title(row, view.site(request).titles),
        "runs": runs,
        "acted": acted,
        "state": "open" if is_over else row.state,
    }


def _latest_text(
    request: Request, connection: sqlite3.Connection, found: groups.GroupDetails
) -> list[excerpts.TextPiece]:
    """The flagged text of the latest run in which it was recorded, under the marks of its rules.

    A mark has the number of its rule in the list of rules. Without recorded text of the newest runs it is the words
    around the latest finding, and the list is empty where these are not kept either.
    """
    path = view.site(request).path
    numbers = {rule.rule_id: number for number, rule in enumerate(found.rules, 1)}
    for occurrence in found.occurrences[:_RUNS_READ]:
        places = Places(transcript(connection, occurrence.trace_id, path))
        own = [one for one in findings_of(connection, occurrence.trace_id, _FINDINGS_READ) if one.rule_id in numbers]
        placed = [one for one in places.findings(own) if one.finding.group_id == found.row.group_id and one.place]
        if not placed:
            continue
        first = placed[0].place
        marks = [
            Mark(
                f"m{order}",
                one.place.start,
                one.place.end,
                severity=one.finding.severity,
                number=numbers[one.finding.rule_id],
                masked=view.site(request).titles(one.finding.rule_id) if one.is_masked else "",
            )
            for order, one in enumerate(placed, 1)
            if one.place is not None and first is not None and one.place[:3] == first[:3]
        ]
        if first is not None:
            return excerpts.pieces(places.text(first._replace(start=0, end=_WHOLE)), marks, _TEXT_SHOWN)[0]
    kept = finding_page(connection, group_id=found.row.group_id, limit=_FINDINGS_READ).rows
    key = excerpts.key_of(path)
    for one in opened([one for one in kept if one.excerpt], path):
        if shown := excerpts.around(one, key, view.site(request).titles(one.rule_id), numbers.get(one.rule_id, 0)):
            return shown
    return []


def _ungrouped(connection: sqlite3.Connection) -> int:
    """Counts findings of an earlier version, which has stored no groups."""
    query = "SELECT count(*) FROM (SELECT 1 FROM findings WHERE group_id IS NULL LIMIT 1000)"
    return int(connection.execute(query).fetchone()[0])


def _checked(group_id: str) -> str:
    if not _ID.fullmatch(group_id):
        raise view.PageError("There is no such group of findings.", 404)
    return group_id


def _existing(connection: sqlite3.Connection, group_id: str) -> GroupRow:
    rows = groups.group_page(connection, group_id=group_id, limit=1).rows
    if not rows:
        raise view.PageError("There is no such group of findings.", 404)
    return rows[0]


def _latest_hash(connection: sqlite3.Connection, row: GroupRow) -> str:
    found = connection.execute(
        "SELECT match_hash FROM findings WHERE group_id = ? AND rule_id = ? ORDER BY timestamp DESC LIMIT 1",
        (row.group_id, row.rule_id),
    ).fetchone()
    return "" if found is None else str(found[0] or "")


def _set_state(request: Request, group_id: str) -> None:
    fields = view.form(request)
    state, reason = fields.get("state", ""), fields.get("reason", "").strip()
    states: tuple[GroupState, ...] = get_args(GroupState)
    known = next((one for one in states if one == state), None)
    if known is None:
        raise view.PageError(f"The state is one of {', '.join(wording.STATES.values())}.")
    if known in triage.DISMISSED and not reason:
        raise view.PageError(f"{wording.STATES[known]} needs a reason. Go back and give one.")
    if len(reason) > _MOST_REASON:
        raise view.PageError(f"A reason has at most {_MOST_REASON} characters.")
    with view.reading(request) as connection:
        _existing(connection, group_id)
    site = view.site(request)
    until_ns = _until(fields.get("until", "")) if known in triage.DISMISSED else None
    triage.set_group_state(
        site.path, site.loaded.settings.store, group_id, known, by=user_name(), reason=reason, until_ns=until_ns
    )


def _until(text: str) -> int | None:
    """Returns the end of a day in UTC, in ns since the epoch; `None` for an empty text."""
    if not text.strip():
        return None
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise view.PageError("The end is a date such as 2027-03-31.") from error
    end_ns = (int(day.timestamp()) + 86_400) * 1_000_000_000
    if end_ns <= time.time_ns():
        raise view.PageError("The end is a day that has not passed.")
    if end_ns >= 1 << 62:
        raise view.PageError("The end lies too far in the future.")
    return end_ns


ROUTES: Final = [
    Route("/findings", findings),
    Route("/findings", change_several, methods=["POST"]),
    Route("/findings/{group}", group),
    Route("/findings/{group}/state", change, methods=["POST"]),
    Route("/findings/{group}/note", note, methods=["POST"]),
    Route("/findings/{group}/silence", silence),
    Route("/findings/{group}/silence", add_silence, methods=["POST"]),
]
