"""Lists, totals and search: what they return, that they agree with the rows, and that none scans a large table."""

from __future__ import annotations

import time

import pytest
from opentelemetry.trace import StatusCode

from cylestio_monitor import config, semconv
from cylestio_monitor.model import Finding
from cylestio_monitor.store import Event, StoreError, admin
from cylestio_monitor.store.read import lists, pages, queries, search, totals
from cylestio_monitor.store.sqlite.records import (
    Approval,
    CallFactsRow,
    Decision,
    RecordedPart,
    ToolVersion,
    ValueOrigin,
)
from store.conftest import eventually

CHAT = {semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "m"}
TOOL = {semconv.OPERATION_NAME: "execute_tool"}


def conversation(bench, agent, session, *, user="u", severity=0, tool="search", text="hello"):
    labels = {semconv.CYLESTIO_AGENT_ID: agent, semconv.CYLESTIO_SESSION_ID: session, semconv.ENDUSER_ID: user}
    with bench.tracer.start_as_current_span(f"run of {agent}", attributes=labels) as root:
        tokens = {semconv.USAGE_INPUT_TOKENS: 10, semconv.USAGE_OUTPUT_TOKENS: 5, semconv.USAGE_COST: 0.5}
        content = {semconv.INPUT_MESSAGES: f'[{{"role":"user","parts":[{{"type":"text","content":"{text}"}}]}}]'}
        alert = {semconv.SEVERITY_NUMBER: severity, semconv.ALERT: "dangerous" if severity else "none"}
        bench.span("chat m", attributes={**CHAT, **labels, **tokens, **content, **alert})
        bench.span(f"execute_tool {tool}", attributes={**TOOL, **labels, semconv.TOOL_NAME: tool})
    return f"{root.get_span_context().trace_id:032x}"


@pytest.fixture
def filled(bench):
    traces = [
        conversation(bench, f"agent {n % 2}", f"session {n}", severity=4 * (n % 3 == 0), tool=f"tool {n % 3}")
        for n in range(7)
    ]
    bench.flush()
    with queries.connect(bench.path) as connection:
        yield bench, connection, traces


def test_a_run_has_the_totals_of_its_spans(filled):
    _, connection, traces = filled
    (run,) = lists.runs(connection, trace_id=traces[3]).rows
    assert (run.name, run.agent_id, run.session_id, run.user_id) == ("run of agent 1", "agent 1", "session 3", "u")
    assert (run.spans, run.model_calls, run.tool_calls, run.severity_number) == (3, 1, 1, 4)
    assert (run.input_tokens, run.output_tokens, run.cost, run.service_name) == (10, 5, 0.5, "bench")
    assert run.end_ns >= run.start_ns


def test_a_run_that_several_commits_and_processes_write_stays_one(bench):
    with bench.tracer.start_as_current_span("root") as root:
        for _ in range(3):
            bench.span("chat", attributes=CHAT)
            bench.flush()
            bench.store._writer._forget()  # as another process, which knows no run yet
    bench.flush()
    with queries.connect(bench.path) as connection:
        (run,) = lists.runs(connection).rows
    assert (run.trace_id, run.spans, run.name) == (f"{root.get_span_context().trace_id:032x}", 4, "root")


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, {0, 1, 2, 3, 4, 5, 6}),
        ({"agent_id": "agent 0"}, {0, 2, 4, 6}),
        ({"session_id": "session 5"}, {5}),
        ({"user_id": "nobody"}, set()),
        ({"min_severity": 3}, {0, 3, 6}),
        ({"tool": "tool 1"}, {1, 4}),
        ({"tool": "tool 1", "agent_id": "agent 1"}, {1}),
        ({"has_failed": True}, set()),
        ({"since_ns": 0, "until_ns": 1 << 62}, {0, 1, 2, 3, 4, 5, 6}),
        ({"until_ns": 5}, set()),
    ],
)
def test_runs_are_filtered(filled, filters, numbers):
    _, connection, traces = filled
    assert {run.trace_id for run in lists.runs(connection, **filters).rows} == {traces[n] for n in numbers}
    assert pages.count_rows(connection, lists.RUNS, filters) == len(numbers)


def test_a_filter_that_a_list_does_not_have_is_refused(filled):
    with pytest.raises(StoreError, match="run cannot be filtered by colour"):
        lists.runs(filled[1], colour="red")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_hold_each_row_once_in_both_directions(filled, limit):
    _, connection, traces = filled
    seen, cursor, before = [], None, []
    while True:
        page = lists.runs(connection, cursor=cursor, limit=limit)
        seen += [run.trace_id for run in page.rows]
        assert (page.previous is None) == (cursor is None)
        if page.next is None:
            break
        cursor = pages.parse_cursor(page.next.text())
    assert seen == traces[::-1]
    while page.previous is not None:
        page = lists.runs(connection, cursor=page.previous, limit=limit)
        before = [run.trace_id for run in page.rows] + before
    assert before == traces[::-1][: len(before)]
    assert len(before) == ((len(traces) - 1) // limit) * limit


@pytest.mark.parametrize("text", ["", "x", "!!", "bnVsbA", "WzFd", "a" * 5000])
def test_a_cursor_from_elsewhere_is_refused(text):
    with pytest.raises(StoreError, match="cursor"):
        pages.parse_cursor(text)


@pytest.mark.parametrize(("kind", "count"), [("agent", 2), ("session", 7), ("user", 1), ("tool", 3), ("planet", 0)])
def test_agents_sessions_users_and_tools_are_listed_with_their_totals(filled, kind, count):
    _, connection, _ = filled
    rows = lists.entities(connection, kind).rows
    assert len(rows) == count
    if kind != "planet":
        assert sum(row.tool_calls for row in rows) == 7
        assert [row.last_ns for row in rows] == sorted((row.last_ns for row in rows), reverse=True)


def test_an_outline_has_all_spans_of_a_trace_in_order(filled):
    _, connection, traces = filled
    spans = lists.outline(connection, traces[2])
    assert [span.name for span in spans] == ["run of agent 0", "chat m", "execute_tool tool 2"]
    assert spans[1].parent_span_id == spans[0].span_id


def counted(bench):
    """The events that the roll-up counts, and those that are stored, by all of its keys."""
    key = "agent_id, event_type, channel, level"
    rolled = bench.rows(
        "SELECT nullif(agent_id, '') AS agent_id, event_type, channel, level, sum(events - removed) AS n FROM usage "
        "GROUP BY 1, 2, 3, 4 HAVING n > 0 ORDER BY 1, 2, 3, 4"
    )
    stored = bench.rows(f"SELECT {key}, count(*) AS n FROM events GROUP BY {key} ORDER BY {key}")
    return rolled, stored


def test_the_roll_up_is_what_is_stored_before_and_after_a_removal(filled):
    bench, _, _ = filled
    for number in range(4):
        bench.store.add_event(
            Event(f"agent {number}", "login", "AUTH", "INFO", time.time_ns(), {"alert": "suspicious"})
        )
    failed = bench.tracer.start_span("failed", attributes=CHAT)
    failed.set_status(StatusCode.ERROR)
    failed.end()
    bench.flush()
    rolled, stored = counted(bench)
    assert rolled == stored
    middle = bench.rows("SELECT start_ns FROM span ORDER BY id LIMIT 1 OFFSET 9")[0]["start_ns"]
    assert admin.remove_before(bench.path, bench.store.settings, middle)
    rolled, stored = counted(bench)
    kept = [row for row in stored if row["event_type"] != "store_gap"]
    assert rolled == kept
    assert bench.rows("SELECT count(*) AS n FROM run WHERE id NOT IN (SELECT run FROM span)") == [{"n": 0}]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("agent_id", {"agent 0", "agent 1"}),
        ("model", {"m", ""}),
        ("tool", {"", "tool 0", "tool 1", "tool 2"}),
        ("event_type", {"llm_call", "tool_call"}),
        ("alert", {"none", "dangerous"}),
    ],
)
def test_usage_is_summed_by_any_label(filled, by, keys):
    _, connection, _ = filled
    rows = totals.usage(connection, by)
    assert {row.key for row in rows} == keys
    assert sum(row.events for row in rows) == 14
    assert sum(row.input_tokens for row in rows) == 70
    assert sum(row.cost for row in rows) == pytest.approx(3.5)
    assert sum(row.dangerous for row in rows) == 3
    (day,) = totals.usage(connection, "day", agent_id="agent 1")[:1]
    assert day.stored == 6


def indexed(bench):
    last = "SELECT value FROM meta WHERE key = 'search.last'"
    eventually(lambda: bench.rows(last) == [{"value": bench.rows("SELECT max(id) AS n FROM span")[0]["n"]}])


@pytest.mark.parametrize("is_indexed", [False, True])
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("zebra", 1),
        ("ZEBRA crossing", 1),
        ('"zebra crossing"', 1),
        ('"crossing zebra"', 0),
        ("zeb*", 1),
        ("zeb", 0),
        ("zebra unicorn", 0),
        ("agent 1", 3 * 3),
        ('agent" OR 1=1 --', 0),
        ("NEAR(zebra)", 0),
        ("name:zebra", 0),
        ("* - ()", 0),
        ("", 0),
    ],
)
def test_recorded_text_and_names_are_searched(bench, text, count, is_indexed):
    for number in range(3):
        conversation(bench, "agent 1", "s", text="a zebra crossing" if number == 1 else "nothing")
    bench.flush()
    if is_indexed:
        indexed(bench)
    with queries.connect(bench.path) as connection:
        assert len(search.search(connection, text)) == count


def test_what_retention_removes_is_no_longer_found(bench):
    conversation(bench, "a", "s", text="a zebra")
    bench.flush()
    indexed(bench)
    admin.remove_before(bench.path, bench.store.settings, time.time_ns())
    conversation(bench, "a", "s", text="a horse")
    bench.flush()
    indexed(bench)
    with queries.connect(bench.path) as connection:
        assert search.search(connection, "zebra") == []
        assert len(search.search(connection, "horse")) == 1
    rows = bench.store._writer.connection().execute("INSERT INTO search (search) VALUES ('integrity-check')")
    assert rows.fetchall() == []


NOW = time.time_ns()
PLACE = {"trace_id": "a" * 32, "span_id": "b" * 16}
RECORDS = [
    (lists.PARTS, RecordedPart(**PLACE, attribute="x", pointer="/0", part_id="p", source="user", length=3)),
    (
        lists.VALUES,
        ValueOrigin(**PLACE, argument="/to", kind="email", shape="prose", origin="tool:a/b", value_hash="h"),
    ),
    (lists.CALL_FACTS, CallFactsRow(**PLACE, time_ns=NOW, tool="t", facts='{"hosts":["h"]}', agent_id="a")),
    (
        lists.TOOL_VERSIONS,
        ToolVersion(**PLACE, server="s", name="n", digest="d", definition="{}", first_ns=1, last_ns=2),
    ),
    (
        lists.DECISIONS,
        Decision(**PLACE, time_ns=NOW, action="deny", enforced=True, rule="r", policy_version="1", reason="because"),
    ),
    (
        lists.APPROVALS,
        Approval(
            **PLACE,
            id="1" * 32,
            tool="t",
            arguments="{}",
            digest="d",
            rule="r",
            policy_version="1",
            reason="why",
            created_ns=NOW,
            expires_ns=1 << 62,
        ),
    ),
]


@pytest.mark.parametrize(("listing", "record"), RECORDS, ids=lambda one: getattr(one, "table", ""))
def test_records_of_control_are_stored_and_listed(bench, listing, record):
    assert bench.store.add_record(record, urgent=True).wait(5)
    bench.store.add_record(record)
    bench.flush()
    with queries.connect(bench.path) as connection:
        rows = pages.read_page(connection, listing, {}).rows
        assert rows[0] == record
        assert len(rows) == (2 if isinstance(record, Decision) else 1)
        assert lists.runs(connection, trace_id="a" * 32).rows
        for name in listing.filters:
            pages.read_page(connection, listing, {name: 1})
    audited = {row["event_type"] for row in bench.rows("SELECT event_type FROM event WHERE seq IS NOT NULL")}
    expected = {"decision": {"policy_decision"}, "approval": {"approval_requested"}}.get(record.table, set())
    assert audited == expected


def test_findings_form_groups_that_open_again(bench):
    class Placed(Finding):
        group_id = "g1"
        source = "tool:git/log"

    finding = Placed("a.b", "secret", "high", "dangerous", "input", "tool_result", "x", 0, 3)
    bench.store.add_findings(1, 2, [finding])
    bench.flush()
    from cylestio_monitor.store import triage

    settings = config.StoreSettings()
    with pytest.raises(StoreError, match="reason"):
        triage.set_group_state(bench.path, settings, "g1", "false_alarm", by="me")
    with pytest.raises(StoreError, match="no group"):
        triage.set_group_state(bench.path, settings, "g2", "resolved", by="me")
    triage.set_group_state(bench.path, settings, "g1", "resolved", by="me")
    with queries.connect(bench.path) as connection:
        (group,) = pages.read_page(connection, lists.GROUPS, {"state": "resolved"}).rows
        assert (group.rule_id, group.source, group.findings, group.changed_by) == ("a.b", "tool:git/log", 1, "me")
        bench.store.add_findings(1, 3, [finding])
        bench.flush()
        (group,) = pages.read_page(connection, lists.GROUPS, {}).rows
        assert (group.state, group.findings) == ("open", 2)


def filled_hours(bench):
    """Calls of three agents with two models and tools, some flagged or failed, in the last two days."""
    now = time.time_ns()
    for number in range(60):
        attributes = {
            "gen_ai.operation.name": "execute_tool" if number % 3 else "chat",
            "gen_ai.request.model": f"m-{number % 2}",
            "cylestio.agent.id": f"agent-{number % 3}",
            "cylestio.security.alert": ("none", "suspicious", "dangerous")[number % 5 % 3],
            "gen_ai.usage.input_tokens": number,
        }
        if number % 3:
            attributes["gen_ai.tool.name"] = f"tool-{number % 4}"
        start = now - number * 3_000_000_000_000
        bench.tracer.start_span("call", attributes=attributes, start_time=start).end(start + 5)
    bench.flush()
    return now - 60 * 3_000_000_000_000


@pytest.mark.parametrize("agent", [None, "agent-1", "nobody"])
def test_totals_by_several_things_are_those_by_each(bench, agent):
    since_ns = filled_hours(bench)
    keys = ["agent_id", "model", "tool", "day", "hour"]
    with queries.connect(bench.path) as connection:
        found = totals.usage_by_each(connection, keys, since_ns=since_ns, agent_id=agent)
        for key in keys:
            assert found[key] == totals.usage(connection, key, since_ns=since_ns, agent_id=agent)
        hours = totals.usage(connection, "hour", since_ns=since_ns, agent_id=agent)
        flagged = [(one.key, one.suspicious, one.dangerous) for one in hours if one.suspicious or one.dangerous]
        assert totals.flagged_hours(connection, since_ns, agent) == flagged
        days = {
            (name, one.key): (one.events, one.suspicious, one.dangerous)
            for name in ("agent-0", "agent-1")
            for one in totals.usage(connection, "day", since_ns=since_ns, agent_id=name)
        }
        assert totals.agent_days(connection, ["agent-0", "agent-1"], since_ns) == days


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    from store.filling import Bench

    made = Bench(tmp_path_factory.mktemp("plans") / "s.db")
    yield made.path
    made.close()


LARGE = {"span", "findings", "event", "run", "call_facts", "part", "value_origin", "decision", "audit", "entity"}
LISTINGS = {name: value for name, value in vars(lists).items() if isinstance(value, pages.Listing)}


def scans(connection, query, *values):
    """Steps of the plan that read or sort a whole large table."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    whole = [step for step in plan if step.split()[:1] == ["SCAN"] and step.split()[1] in LARGE and "INDEX" not in step]
    return whole + [step for step in plan if "TEMP B-TREE" in step and "ORDER BY" in step]


@pytest.mark.parametrize("name", LISTINGS)
def test_no_list_reads_or_sorts_a_whole_table(empty, name):
    listing = LISTINGS[name]
    always = {"kind": "session"} if listing.source == "entity" else {}
    with queries.connect(empty) as connection:
        for chosen in [always, *({**always, one: 1} for one in listing.filters)]:
            seen = []
            connection.set_trace_callback(seen.append)
            pages.read_page(connection, listing, chosen, cursor=pages.Cursor(5, 5))
            connection.set_trace_callback(None)
            # The rows of one trace are sorted, and the values of one session, which are those of several traces.
            sorts_few = "trace_id" in chosen or (listing is lists.VALUES and "session_id" in chosen)
            if not sorts_few and listing.source in LARGE:
                assert scans(connection, seen[-1]) == [], chosen
