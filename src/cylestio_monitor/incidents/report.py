"""The report about one incident as a document."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from cylestio_monitor.incidents import taxonomies
from cylestio_monitor.incidents.document import Document, Link, ReportSection
from cylestio_monitor.model import SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cylestio_monitor.incidents.document import Cell
    from cylestio_monitor.store.read.blast_radius import Touched
    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.read.incidents import Incident

_TIMELINE: Final = 1000
"""Rows of the timeline in a report; the records of the bundle hold all."""


def incident_document(incident: Incident) -> Document:
    """Returns the report about an incident.

    Args:
        incident: From `store.read.incidents.examine`.
    """
    row = incident.row
    return Document(
        f"Incident {row.id}: {row.title}",
        f"{row.state}, {SEVERITIES[row.severity_number]}, opened {timestamp(row.opened_ns)[:19]} UTC "
        f"by {row.opened_by}",
        (*_head(incident), *_radius(incident), *_taxonomy(incident.findings), _timeline(incident), _notes(incident)),
    )


def _head(incident: Incident) -> Iterator[ReportSection]:
    row = incident.row
    about = [
        ("State", row.state),
        ("Severity", SEVERITIES[row.severity_number]),
        ("Owner", row.owner or "nobody"),
        ("Opened (UTC)", timestamp(row.opened_ns)),
        ("Closed (UTC)", timestamp(row.closed_ns) if row.closed_ns else "not closed"),
        *(("About", f"{kind} {ref}") for kind, ref in incident.items),
        ("Runs, calls, findings", f"{len(incident.runs)}, {len(incident.spans)}, {len(incident.findings)}"),
    ]
    if not incident.is_complete:
        about.append(("Limit", "more rows belong to this incident than this report reads"))
    yield ReportSection("Summary", (), about)
    entry = incident.entry
    pairs: list[tuple[str, Cell]] = []
    if entry is not None:
        how = "a value that a tool call used later came in" if entry.kind == "value" else "the first finding"
        pairs = [
            ("How", how),
            ("Time (UTC)", timestamp(entry.time_ns)),
            ("Call or rule", entry.name),
            ("First said by", entry.source or "not recorded"),
            ("Place", entry.place),
            ("Trace", entry.trace_id),
            ("Span", entry.span_id),
        ]
    yield ReportSection("Entry point", (), pairs, empty="The runs have no finding.")


def _radius(incident: Incident) -> Iterator[ReportSection]:
    radius = incident.radius
    yield ReportSection(
        "Tools called from there on",
        ("Tool", "Calls", "Blocked", "Failed", "Worst finding", "First (UTC)", "Last (UTC)"),
        [
            (
                one.tool,
                one.calls,
                one.blocked,
                one.failed,
                one.severity,
                timestamp(one.first_ns),
                timestamp(one.last_ns),
            )
            for one in radius.tools
        ],
    )
    yield ReportSection(
        "Values that flowed on into tool calls",
        ("Tool", "Argument", "Kind", "First said by", "Shape", "From span"),
        [(one.tool, one.argument, one.kind, one.origin, one.shape, one.source_span_id or "") for one in radius.values],
        empty="None was traced.",
    )
    yield ReportSection("Hosts in arguments", ("Host", "Values"), _pairs(radius.hosts))
    yield ReportSection("Kinds of secrets", ("Rule", "Findings", "Different"), _triples(radius.secrets))
    yield ReportSection("Kinds of personal data", ("Rule", "Findings", "Different"), _triples(radius.personal_data))
    people = [("user", one.name, one.count) for one in radius.users]
    people += [("agent", one.name, one.count) for one in radius.agents]
    people += [("session", one.name, one.count) for one in radius.sessions]
    yield ReportSection("Users, agents and sessions", ("Kind", "Id", "Runs or calls"), people)
    yield ReportSection(
        "The same text or value elsewhere",
        ("Rule", "Agent", "Session", "User", "First (UTC)", "Findings", "Trace"),
        [
            (one.rule_id, one.agent_id, one.session_id, one.user_id, one.first, one.count, one.trace_id)
            for one in radius.elsewhere
        ],
        intro="Other runs with findings, or with values from sources that are not trusted, of the same keyed hash.",
        empty="In no other run of this store.",
    )


def _taxonomy(findings: Sequence[FindingRow]) -> Iterator[ReportSection]:
    rules: dict[str, list[FindingRow]] = {}
    for one in findings:
        rules.setdefault(one.rule_id, []).append(one)
    ordered = sorted(rules.values(), key=lambda group: (-SEVERITY_NUMBER[group[0].severity], -len(group)))
    yield ReportSection(
        "Findings",
        ("Rule", "Severity", "Category", "Count", "Actions", "Runbook"),
        [
            (
                group[0].rule_id,
                group[0].severity,
                group[0].category,
                len(group),
                ", ".join(sorted({one.action for one in group if one.action})),
                Link("runbook", taxonomies.runbook(group[0].category)),
            )
            for group in ordered
        ],
    )
    entries = Counter(taxonomies.owasp(name) for one in findings for name in one.owasp)
    entries.update(taxonomies.atlas(name) for one in findings for name in one.atlas)
    yield ReportSection(
        "OWASP and MITRE ATLAS",
        ("Entry", "Name", "Findings"),
        [(Link(entry.id, entry.url), entry.name, count) for entry, count in sorted(entries.items())],
    )


def _timeline(incident: Incident) -> ReportSection:
    shown = incident.timeline[:_TIMELINE]
    more = len(incident.timeline) - len(shown)
    return ReportSection(
        "Timeline",
        ("Time (UTC)", "Kind", "What", "Severity", "Detail", "Span"),
        [(timestamp(one.time_ns), one.kind, one.title, one.severity, one.detail, one.span_id) for one in shown],
        intro=f"The first {len(shown)} of {len(incident.timeline)} entries." if more else "",
    )


def _notes(incident: Incident) -> ReportSection:
    rows = [(timestamp(one.time_ns), one.author, one.text) for one in incident.notes]
    return ReportSection("Notes", ("Time (UTC)", "Author", "Note"), rows)


def _pairs(touched: Sequence[Touched]) -> list[tuple[Cell, ...]]:
    return [(one.name, one.count) for one in touched]


def _triples(touched: Sequence[Touched]) -> list[tuple[Cell, ...]]:
    return [(one.name, one.count, one.distinct) for one in touched]
