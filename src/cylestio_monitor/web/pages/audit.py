"""The audit trail: how far it is sealed, whether it holds, and what people decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from cylestio_monitor.store.audit import trail
from cylestio_monitor.store.read.triage import changes
from cylestio_monitor.store.read.values import decoded
from cylestio_monitor.web import filters, view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.store.audit.verify import TrailReport

_CHECKPOINTS: Final = 10
_PROBLEMS: Final = 200
_FIELDS: Final = (("status", changes.TYPES),)
_NAMES: Final = ("state", "id", "group_id", "rule_id", "subject", "ref", "tool", "server", "name", "title", "owner")


def audit(request: Request) -> Response:
    """The trail as it stands, and what was decided."""
    return _page(request, None)


def verify(request: Request) -> Response:
    """Checks the trail and shows what was found; nothing is written."""
    with view.reading(request):
        pass  # says so where there is no store
    return _page(request, trail.verify(view.site(request).path))


def _page(request: Request, report: TrailReport | None) -> Response:
    chosen = filters.read(request, ["status"])
    kind = chosen.get("status")
    if kind is not None and kind not in changes.TYPES:
        raise view.PageError("The filter status is the type of an event in the list.")
    with view.reading(request) as connection:
        first, last = connection.execute("SELECT (SELECT min(seq) FROM audit), (SELECT max(seq) FROM audit)").fetchone()
        checkpoints = [
            {"seq": row[0], **_sealed(row[1])}
            for row in connection.execute("SELECT seq, body FROM checkpoint ORDER BY seq DESC LIMIT ?", (_CHECKPOINTS,))
        ]
        page = changes.changes(connection, cursor=chosen.cursor, event_type=kind)
    values: dict[str, Any] = {
        "first": first,
        "last": last,
        "checkpoints": checkpoints,
        "sealed": checkpoints[0]["seq"] if checkpoints else 0,
        "rows": [(row, _told(row)) for row in page.rows],
        "paging": filters.paging(page, chosen),
        "filters": chosen,
        "fields": _FIELDS,
        "report": report,
        "problems": report.problems[:_PROBLEMS] if report else [],
    }
    return view.page(request, "audit.html", values, title="Audit trail")


def _sealed(body: str) -> dict[str, str]:
    """Time and key of a checkpoint; empty for one that is damaged, which a check reports."""
    found = decoded(body, {})
    values = found if isinstance(found, dict) else {}
    return {name: str(values.get(name) or "") for name in ("time", "public_key")}


def _told(row: changes.ChangeRow) -> dict[str, str]:
    """Who did it, to what, and why."""
    found = decoded(row.data, {})
    values = found if isinstance(found, dict) else {}
    subject = ", ".join(f"{name.removesuffix('_id')} {values[name]}" for name in _NAMES if values.get(name))
    return {
        "by": str(values.get("by") or values.get("decided_by") or ""),
        "subject": subject,
        "reason": str(values.get("reason") or ""),
    }


ROUTES: Final = [
    Route("/audit", audit),
    Route("/audit/verify", verify, methods=["POST"]),
]
