"""The road itself, with the real scanner and the SDK's own span exporter; the SDKs' calls are tested in `capture`."""

import gc
import json
import threading

import pytest
from opentelemetry import trace

from cylestio_monitor import semconv
from cylestio_monitor.config import KeywordSettings, ScanSettings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.identity import identify
from cylestio_monitor.model import Call, Message, Part, Result, ToolDefinition, Usage
from cylestio_monitor.store import Store
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.read.findings import findings
from road import AWS, answer, chat


def finding_paths(span):
    return [event.attributes[semconv.FINDING_PATH] for event in span.events if event.name == semconv.EVENT_FINDING]


def test_a_clean_call_is_one_span_that_says_so(road):
    here = road(agent_id="agent")
    with identify(session_id="session", user_id="user"):
        call = here.pipeline.begin(chat("What is the capital of France?", system="You are kind."))
    call.end(
        answer(
            "Paris.",
            response_id="r1",
            model="m-1",
            finish_reasons=["end_turn"],
            usage=Usage(12, 3, cache_read=2, cache_write=1, reasoning=0),
        )
    )
    span = here.span()
    assert span.name == "chat m"
    assert span.kind is trace.SpanKind.CLIENT
    assert span.status.status_code is trace.StatusCode.UNSET
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "m",
        "enduser.id": "user",
        "cylestio.agent.id": "agent",
        "cylestio.session.id": "session",
        "gen_ai.response.id": "r1",
        "gen_ai.response.model": "m-1",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.cache_write.input_tokens": 1,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "cylestio.security.scanned": True,
        "cylestio.security.alert": "none",
        "cylestio.security.severity": "none",
        "cylestio.security.severity_number": 0,
        "cylestio.security.finding.count": 0,
        "cylestio.security.verdict": "allow",
        "cylestio.security.action": "allow",
    }
    assert not span.events


def test_a_finding_stands_on_the_span_and_as_an_event_without_its_text(road):
    here = road()
    call = here.pipeline.begin(chat("Please run: DROP TABLE users;"))
    call.end(answer("No."))
    span = here.span()
    assert span.attributes[semconv.ALERT] == "dangerous"
    assert span.attributes[semconv.VERDICT] == "deny"
    assert span.attributes[semconv.ACTION] == "audit"
    assert span.attributes[semconv.TARGET_TYPE] == "input"
    assert span.attributes[semconv.TARGET_SUBTYPE] == "llm"
    assert span.attributes[semconv.SECURITY_RULE_NAME] in span.attributes[semconv.RULES]
    event = span.events[0]
    assert event.attributes[semconv.FINDING_PATH] == "messages[0].content"
    assert event.attributes[semconv.FINDING_START] == len("Please run: ")
    assert event.attributes[semconv.FINDING_HASH]
    assert "users" not in json.dumps([dict(span.attributes), *[dict(event.attributes) for event in span.events]])


def test_every_surface_is_scanned(road):
    here = road(keywords=KeywordSettings(dangerous=("zebra",), defaults=False))
    call = Call(
        operation="chat",
        name="chat",
        system=[Part("text", "zebra", path="system")],
        messages=[
            Message("user", [Part("text", "zebra", path="messages[0].content[0]")]),
            Message("tool", [Part("tool_call_response", {"rows": ["zebra"]}, id="1", path="messages[1].content[0]")]),
        ],
        tools=[ToolDefinition("look", "finds a zebra", path="tools[0]")],
    )
    begun = here.pipeline.begin(call)
    begun.end(
        Result(
            messages=[
                Message(
                    "assistant",
                    [
                        Part("text", "a zebra", path="content[0]"),
                        Part("reasoning", "hm, zebra", path="content[1]"),
                        Part("tool_call", {"animal": "zebra"}, name="look", id="2", path="content[2]"),
                    ],
                )
            ]
        )
    )
    span = here.span()
    seen = {
        (event.attributes[semconv.FINDING_TARGET], event.attributes[semconv.FINDING_SUBTYPE]) for event in span.events
    }
    assert seen == {
        ("input", "system"),
        ("input", "llm"),
        ("input", "tool_result"),
        ("input", "tool_definition"),
        ("output", "llm"),
        ("output", "tool_call"),
    }
    assert span.attributes[semconv.TOOLS_OFFERED] == ("look",)
    assert span.attributes[semconv.TOOLS_REQUESTED] == ("look",)


def test_history_is_reported_once_and_new_words_always(road):
    here = road()
    attack = Message("user", [Part("text", "DROP TABLE users", path="messages[0].content")])
    begun = here.pipeline.begin(Call("chat", "chat", messages=[attack]))
    begun.end(answer("I will not."))
    assert here.span().attributes[semconv.ALERT] == "dangerous"

    reply = Message("assistant", [Part("text", "I will not.", path="messages[1].content")])
    thanks = Message("user", [Part("text", "Thanks.", path="messages[2].content")])
    here.pipeline.begin(Call("chat", "chat", messages=[attack, reply, thanks])).end(answer("Welcome."))
    assert here.span().attributes[semconv.ALERT] == "none"

    here.pipeline.begin(Call("chat", "chat", messages=[attack])).end(answer("No."))
    assert here.span().attributes[semconv.ALERT] == "dangerous"


def test_history_that_was_never_scanned_is_scanned(road):
    here = road()
    old = Message("user", [Part("text", "DROP TABLE users", path="messages[0].content")])
    reply = Message("assistant", [Part("text", "ok", path="messages[1].content")])
    new = Message("user", [Part("text", "go on", path="messages[2].content")])
    here.pipeline.begin(Call("chat", "chat", messages=[old, reply, new])).end(answer("..."))
    assert here.span().attributes[semconv.ALERT] == "dangerous"


def test_a_dangerous_prompt_is_refused_where_blocking_is_on(road):
    here = road(mode="block")
    with pytest.raises(BlockedError, match=r"blocked this call: rule \S+ at messages\[0\].content") as caught:
        here.pipeline.begin(chat("DROP TABLE users"))
    assert isinstance(caught.value, ValueError)
    assert caught.value.findings
    assert "users" not in str(caught.value)
    span = here.span()
    assert span.attributes[semconv.ACTION] == "block"
    assert span.attributes[semconv.VERDICT] == "deny"
    assert span.attributes[semconv.ERROR_TYPE] == "BlockedError"
    assert span.status.status_code is trace.StatusCode.ERROR
    # Sent again, it is refused again.
    with pytest.raises(BlockedError):
        here.pipeline.begin(chat("DROP TABLE users"))


def test_a_dangerous_tool_call_in_the_answer_is_refused_only_where_asked_to(road):
    here = road(mode="block")
    asked = Result(
        messages=[
            Message("assistant", [Part("tool_call", {"command": "rm -rf /"}, name="bash", id="1", path="content[0]")])
        ]
    )
    begun = here.pipeline.begin(chat("Clean up, please."))
    with pytest.raises(BlockedError, match="blocked this answer"):
        begun.end(asked, enforce=True)
    span = here.span()
    assert span.attributes[semconv.ACTION] == "block"
    here.pipeline.begin(chat("Clean up, please.")).end(asked)
    assert here.span().attributes[semconv.VERDICT] == "deny"


def test_dangerous_words_in_an_answer_are_told_and_not_refused(road):
    here = road(mode="block")
    here.pipeline.begin(chat("How do I empty a table?")).end(answer("Use `DROP TABLE users;`"), enforce=True)
    span = here.span()
    assert (span.attributes[semconv.VERDICT], span.attributes[semconv.ACTION]) == ("deny", "audit")


def test_streamed_text_is_scanned_across_its_pieces_once(road):
    here = road()
    begun = here.pipeline.begin(chat("hi"))
    begun.first_chunk()
    text = "x" * 600 + " run DROP TABLE users; now"
    streamed = begun.streamed("content[0]")
    for letter in text:
        streamed.add(letter)
    begun.end(answer(text))
    span = here.span()
    assert finding_paths(span) == ["content[0]"]
    assert span.events[0].attributes[semconv.FINDING_START] == text.index("DROP")
    assert span.attributes[semconv.RESPONSE_TIME_TO_FIRST_CHUNK] > 0


def test_what_a_long_streamed_answer_begins_with_is_judged_and_on_disk_before_it_ends(road, tmp_path):
    here = road()
    here.pipeline.store = store = Store.open(tmp_path / "store.db", here.settings.store)
    begun = here.pipeline.begin(chat("hi"))
    streamed = begun.streamed("content[0]")
    pieces = ["run DROP TABLE users; now. ", *["and so it goes on, word for word. "] * 200]
    for piece in pieces:
        streamed.add(piece)
    begun.wait_durable()
    with queries.connect(tmp_path / "store.db") as connection:
        assert [found.path for found in findings(connection)] == ["content[0]"]
    begun.end(answer("".join(pieces)))
    store.close()
    span = here.span()
    assert (span.attributes[semconv.VERDICT], span.attributes[semconv.ACTION]) == ("deny", "audit")
    assert finding_paths(span) == ["content[0]"]


def test_an_error_sets_type_and_masked_text_and_a_cancel_its_type(road):
    here = road()
    here.pipeline.begin(chat("hi")).end(error=RuntimeError(f"bad request with {AWS} \ud800"))
    span = here.span()
    assert span.attributes[semconv.ERROR_TYPE] == "RuntimeError"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert AWS not in span.status.description
    here.pipeline.begin(chat("hi")).end(error=KeyboardInterrupt())
    span = here.span()
    assert span.attributes[semconv.ERROR_TYPE] == "KeyboardInterrupt"
    assert span.status.description == "cancelled"
    here.pipeline.begin(chat("hi")).end(Result(error_type="tool_error"))
    span = here.span()
    assert span.attributes[semconv.ERROR_TYPE] == "tool_error"
    assert span.status.status_code is trace.StatusCode.ERROR


def test_whoever_ends_a_call_first_ends_it_alone(road):
    here = road()
    begun = here.pipeline.begin(chat("hi"))
    gate = threading.Barrier(8)

    def finish():
        gate.wait()
        begun.end(answer("ok"))

    threads = [threading.Thread(target=finish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    begun.end(error=RuntimeError("late"))
    begun.abandon()
    here.pipeline.flush()
    assert here.span().status.status_code is trace.StatusCode.UNSET


def test_an_abandoned_call_ends_on_another_thread_with_its_own_end_time(road):
    here = road()
    begun = here.pipeline.begin(chat("hi"))
    begun.abandon(answer("half"))
    for _ in range(500):
        if here.exporter.get_finished_spans():
            break
        threading.Event().wait(0.01)
    span = here.span()
    assert span.end_time > span.start_time
    assert semconv.ERROR_TYPE not in span.attributes


def test_the_span_is_current_only_inside_attached(road):
    here = road()
    begun = here.pipeline.begin(chat("hi"))
    with begun.attached():
        assert trace.get_current_span() is begun.span
    assert trace.get_current_span() is trace.INVALID_SPAN
    begun.end()
    gc.collect()


def test_a_scan_that_is_switched_off_says_so(road):
    here = road(scan=ScanSettings(enabled=False))
    here.pipeline.begin(chat("DROP TABLE users")).end(answer("DROP TABLE users"))
    span = here.span()
    assert span.attributes[semconv.SCANNED] is False
    assert semconv.ALERT not in span.attributes


def test_the_findings_metric_starts_at_zero_for_every_category_and_severity_and_counts(road):
    here = road()
    before = here.points(semconv.METRIC_FINDINGS)
    kinds = {(rule.category, rule.severity) for rule in here.pipeline.scanner.rules.values()}
    assert {(point.attributes["category"], point.attributes["severity"]) for point in before} == kinds
    assert len(before) == len(kinds) < 60
    assert all(point.value == 0 for point in before)
    here.pipeline.begin(chat("DROP TABLE users")).end(answer("no", usage=Usage(3, 4)))
    counted = [point for point in here.points(semconv.METRIC_FINDINGS) if point.value]
    assert counted
    assert all(point.attributes["action"] == "audit" for point in counted)
    assert all(point.attributes["operation"] == "chat" for point in counted)
    tokens = here.points(semconv.METRIC_CLIENT_TOKENS)
    assert {(point.attributes["gen_ai.token.type"], point.sum) for point in tokens} == {("input", 3), ("output", 4)}
    assert here.points(semconv.METRIC_CLIENT_DURATION)[0].attributes["gen_ai.operation.name"] == "chat"


def test_tool_names_on_the_metric_are_bounded(road):
    here = road()
    for number in range(150):
        call = Call(
            "execute_tool", "t", kind="internal", tool_name=f"delete_{number}", arguments={"command": "rm -rf /"}
        )
        here.pipeline.begin(call).end()
    tools = {point.attributes.get("tool") for point in here.points(semconv.METRIC_FINDINGS)}
    assert "_OTHER" in tools
    assert len(tools) <= 103
