"""`cylestio incident`: open, read, note, assign, close and export incidents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cylestio_monitor.cli import options, output
from cylestio_monitor.errors import counted
from cylestio_monitor.incidents import bundle
from cylestio_monitor.model import SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store import triage
from cylestio_monitor.store.read import control, incidents, lists, pages
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cylestio_monitor.cli.group import Context
    from cylestio_monitor.store.read.blast_radius import EntryPoint
    from cylestio_monitor.store.read.incidents import Incident, Kind
    from cylestio_monitor.store.read.lists import IncidentRow

_KIND = click.option(
    "--kind",
    type=click.Choice(["finding", "trace", "session", "group"]),
    help="What the id is of, where several things have it.",
)


@click.group()
def incident() -> None:
    """Open, read, close and export incidents.

    \b
    Example: cylestio incident open 4bf92f3577b3
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped


@incident.command("open")
@click.argument("subject", metavar="FINDING|TRACE|SESSION")
@_KIND
@click.option("--title", help="One line; without it, the finding, trace or session itself.")
@click.option("--owner", metavar="NAME", help="Who handles it.")
@click.option("--severity", type=click.Choice(["low", "medium", "high", "critical"]), help="Another severity.")
@click.option("--to", "existing", metavar="ID", help="Add it to this incident instead of opening one.")
@click.pass_obj
def open_one(
    obj: Context,
    subject: str,
    *,
    kind: Kind | None,
    title: str | None,
    owner: str | None,
    severity: str | None,
    existing: str | None,
) -> None:
    """Open an incident on a finding, a trace, a session or a group of findings, and show what it touched.

    Ids are those that `findings --json`, `traces` and `sessions` print; of a trace, the first digits are enough.

    \b
    Example: cylestio incident open 4bf92f3577b3 --owner ann
    """  # noqa: D301 -- as above
    by = control.user_name()
    with obj.store() as connection:
        found = incidents.resolve(connection, subject, kind)
        known = incidents.find(connection, existing) if existing else None
    item = ((found.kind, found.ref),)
    settings = obj.loaded.settings.store
    if known is not None:
        triage.change_incident(obj.database, settings, known.id, by=by, owner=owner, items=item)
        output.say(f"{known.id}: {found.kind} {found.ref} added")
        return
    number = SEVERITY_NUMBER[severity] if severity else found.severity_number
    made = triage.open_incident(
        obj.database, settings, title or found.title, by=by, severity_number=number, items=item, owner=owner
    )
    output.say(f"incident {made} is open: {found.kind} {found.ref}")
    with obj.store() as connection:
        examined = incidents.examine(connection, incidents.find(connection, made))
    if examined.entry is not None:
        output.say(f"entry point: {_named(examined.entry)}")
    _print_radius(output.console(), examined)
    output.hint(f"next: cylestio incident show {made}")


@incident.command("list")
@click.option("--all", "show_all", is_flag=True, help="Also those that are closed.")
@options.limited(50)
@options.json_lines
@click.pass_obj
def list_all(obj: Context, *, show_all: bool, limit: int, as_json: bool) -> None:
    """List the open incidents, the newest first.

    \b
    Example: cylestio incident list --all
    """  # noqa: D301 -- as above
    with obj.store() as connection:
        filters = {"state": None if show_all else "open"}
        rows: list[IncidentRow] = pages.read_page(connection, lists.INCIDENTS, filters, limit=limit).rows
    columns = (("id", 0), ("state", 1), ("severity", 0), ("opened (UTC)", 2), ("owner", 3), ("title", 0))

    def cells(row: IncidentRow) -> tuple[object, ...]:
        return (
            row.id,
            row.state,
            output.level(SEVERITIES[row.severity_number]),
            timestamp(row.opened_ns)[:16],
            row.owner,
            output.cell(row.title, limit=60),
        )

    empty = "there is no incident" if show_all else "no incident is open"
    output.listing(rows, as_json=as_json, empty=empty, columns=columns, cells=cells)


@incident.command()
@click.argument("incident_id", metavar="ID")
@options.limited(40)
@options.json_document
@click.pass_obj
def show(obj: Context, incident_id: str, *, limit: int, as_json: bool) -> None:
    """Show an incident: where it began, what it touched, and what happened when.

    \b
    Example: cylestio incident show 3f9a2c
    """  # noqa: D301 -- as above
    with obj.store() as connection:
        found = incidents.examine(connection, incidents.find(connection, incident_id))
    if as_json:
        output.as_json(msgspec.to_builtins(found))
        return
    console = output.console()
    _print_head(console, found)
    _print_radius(console, found)
    output.say("")
    columns = (("time (UTC)", 0), ("kind", 0), ("what", 0), ("severity", 1), ("detail", 2), ("span", 3))
    body = (
        (timestamp(one.time_ns)[:19], one.kind, one.title, output.level(one.severity or ""), one.detail, one.span_id)
        for one in found.timeline[:limit]
    )
    console.print(output.fitted(columns, body))
    if len(found.timeline) > limit:
        output.hint(f"--limit shows the other entries: {len(found.timeline) - limit:,}")
    if not found.is_complete:
        output.hint("more rows belong to this incident than are read")


@incident.command()
@click.argument("incident_id", metavar="ID")
@click.argument("text")
@click.pass_obj
def note(obj: Context, incident_id: str, text: str) -> None:
    """Add a note to an incident.

    \b
    Example: cylestio incident note 3f9a2c "the key was revoked"
    """  # noqa: D301 -- as above
    known = _find(obj, incident_id)
    settings = obj.loaded.settings.store
    triage.add_note(obj.database, settings, "incident", known.id, by=control.user_name(), text=text)
    output.hint(f"{known.id}: noted")


@incident.command()
@click.argument("incident_id", metavar="ID")
@click.argument("owner")
@click.pass_obj
def assign(obj: Context, incident_id: str, owner: str) -> None:
    """Name who handles an incident.

    \b
    Example: cylestio incident assign 3f9a2c ann
    """  # noqa: D301 -- as above
    if not owner.strip():
        raise click.UsageError("an owner needs a name")
    known = _find(obj, incident_id)
    triage.change_incident(obj.database, obj.loaded.settings.store, known.id, by=control.user_name(), owner=owner)
    output.hint(f"{known.id}: {owner} handles it")


@incident.command()
@click.argument("incident_id", metavar="ID")
@click.option("--note", "text", metavar="TEXT", help="The result, added as a note.")
@click.option("--reopen", is_flag=True, help="Open a closed incident again.")
@click.pass_obj
def close(obj: Context, incident_id: str, *, text: str | None, reopen: bool) -> None:
    """Close an incident, or open it again.

    \b
    Example: cylestio incident close 3f9a2c --note "the key was revoked"
    """  # noqa: D301 -- as above
    known = _find(obj, incident_id)
    by, settings = control.user_name(), obj.loaded.settings.store
    if text:
        triage.add_note(obj.database, settings, "incident", known.id, by=by, text=text)
    triage.change_incident(obj.database, settings, known.id, by=by, state="open" if reopen else "closed")
    output.hint(f"{known.id} is {'open again' if reopen else 'closed'}")


@incident.command()
@click.argument("incident_id", metavar="ID")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.pass_obj
def export(obj: Context, incident_id: str, folder: Path) -> None:
    """Write a bundle of evidence that a third party can verify with the public key alone.

    DIR is created, or must be empty. It holds the records, the audit trail with its checkpoints, the report as HTML and
    Markdown, the findings as OCSF events, and a signed manifest. Content is as it was recorded.

    \b
    Example: cylestio incident export 3f9a2c evidence
    """  # noqa: D301 -- as above
    _find(obj, incident_id)
    made = bundle.export(obj.database, obj.loaded.settings.store, incident_id, folder, by=control.user_name())
    output.say(f"{folder}: {', '.join(made.files)}")
    output.say(f"public key: {made.public_key}")
    output.hint(f"verify: cylestio audit verify --evidence {folder} --public-key {made.public_key}")


def _find(obj: Context, incident_id: str) -> IncidentRow:
    with obj.store() as connection:
        return incidents.find(connection, incident_id)


def _print_head(console: Console, found: Incident) -> None:
    row, entry = found.row, found.entry
    console.print(output.cell(row.title, "bold"))
    values = [
        ("id", row.id),
        ("state", row.state),
        ("severity", SEVERITIES[row.severity_number]),
        ("owner", row.owner or ""),
        ("opened (UTC)", f"{timestamp(row.opened_ns)[:19]} by {row.opened_by}"),
        ("closed (UTC)", timestamp(row.closed_ns)[:19] if row.closed_ns else ""),
        *(("about", f"{kind} {ref}") for kind, ref in found.items),
    ]
    if entry is not None:
        values.append(("entry point", _named(entry)))
        values.append(("", f"{timestamp(entry.time_ns)[:19]}, span {entry.span_id}, {entry.place}"))
    console.print(output.table(("", ""), (pair for pair in values if pair[1])))


def _named(entry: EntryPoint) -> str:
    return f"{entry.name}{f', first said by {entry.source}' if entry.source else ''}"


def _print_radius(console: Console, found: Incident) -> None:
    radius = found.radius
    rows: list[Sequence[object]] = []
    for one in radius.tools:
        blocked = f", {one.blocked} blocked" if one.blocked else ""
        rows.append(("tool", one.tool, f"{counted(one.calls, 'call')}{blocked}", output.level(one.severity)))
    rows += (("value", f"{one.kind} to {one.tool} {one.argument}", f"from {one.origin}", "") for one in radius.values)
    rows += ((kind, one.name, counted(one.count, "time"), "") for kind, touched in radius.touched for one in touched)
    for other in radius.elsewhere:
        who = other.session_id or other.agent_id or "no session"
        rows.append(("same text", f"{other.rule_id} in {who}", f"trace {other.trace_id[:12]}", ""))
    if rows:
        output.say("")
        columns = (("touched", 0), ("name", 0), ("extent", 1), ("severity", 2))
        console.print(output.fitted(columns, rows))
