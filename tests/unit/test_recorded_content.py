"""What of the content stands on the span: nothing, masked, or all; and always fit to be sent."""

import json

from cylestio_monitor import semconv
from cylestio_monitor.model import Call, Message, Part, Result
from road import AWS, answer, chat


def test_content_is_absent_masked_or_whole(road):
    text = f"my key is {AWS} ok"

    def messages(content):
        here = road(content=content)
        here.pipeline.begin(chat(text, system="be kind")).end(answer(f"You said {AWS}"))
        return dict(here.span().attributes)

    assert semconv.INPUT_MESSAGES not in messages(None)
    masked = messages("masked")
    assert AWS not in json.dumps(masked)
    (message,) = json.loads(masked[semconv.INPUT_MESSAGES])
    assert message["role"] == "user"
    assert message["parts"][0]["content"].startswith("my key is [secret:")
    assert json.loads(masked[semconv.OUTPUT_MESSAGES])[0]["finish_reason"] == "stop"
    assert json.loads(masked[semconv.SYSTEM_INSTRUCTIONS]) == [{"type": "text", "content": "be kind"}]
    whole = messages("full")
    assert json.loads(whole[semconv.INPUT_MESSAGES])[0]["parts"][0]["content"] == text


def test_known_history_is_still_masked(road):
    here = road(content="masked")
    first = Message("user", [Part("text", f"key {AWS}", path="messages[0].content")])
    here.pipeline.begin(Call("chat", "chat", messages=[first])).end(answer("ok"))
    here.exporter.clear()
    later = [first, Message("assistant", [Part("text", "ok")]), Message("user", [Part("text", "more")])]
    here.pipeline.begin(Call("chat", "chat", messages=later)).end(answer("ok"))
    assert AWS not in here.span().attributes[semconv.INPUT_MESSAGES]


def test_streamed_secrets_are_masked(road):
    here = road(content="masked")
    begun = here.pipeline.begin(chat("hi"))
    streamed = begun.streamed("content[0]")
    for piece in ("the key ", AWS[:7], AWS[7:], " is it"):
        streamed.add(piece)
    begun.end(answer(f"the key {AWS} is it"))
    span = here.span()
    assert AWS not in span.attributes[semconv.OUTPUT_MESSAGES]


def test_hostile_values_reach_the_span_sanitised(road):
    here = road(content="full")
    loop: list[object] = []
    loop.append(loop)

    class Bad:
        def __str__(self):
            raise RuntimeError("no")

        __repr__ = __str__

    call = Call(
        "execute_tool",
        "execute_tool \ud800",
        kind="internal",
        tool_name="t\ud800",
        arguments={"a": loop, "b": Bad(), "c": float("nan"), "d": 2**80, "e": b"\xff", "f": "\ud800\x00", 3: {1, 2}},
        attributes={"gen_ai.tool.call.id": "\ud800"},
    )
    here.pipeline.begin(call).end(Result(response={"x": Bad(), "y": "z" * 2_000_000}))
    span = here.span()
    text = json.dumps([span.name, dict(span.attributes)])
    assert text.encode()
    assert json.loads(span.attributes[semconv.TOOL_CALL_ARGUMENTS])
    assert len(span.attributes[semconv.TOOL_CALL_RESULT]) <= here.settings.content_max_bytes


def test_a_page_address_stays_readable_and_an_address_of_a_person_does_not(road):
    here = road(content="masked")
    here.pipeline.begin(chat("see https://example.org/a and write to ann@example.org")).end(answer("ok"))
    span = here.span()
    assert "https://example.org/a" in span.attributes[semconv.INPUT_MESSAGES]
    assert "ann@example.org" not in span.attributes[semconv.INPUT_MESSAGES]
    assert span.attributes[semconv.FINDING_COUNT] == 0
    assert span.attributes[semconv.ALERT] == "none"
