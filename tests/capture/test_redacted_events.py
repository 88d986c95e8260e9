"""The events of streamed answers with tokens, in forms that a server of the provider's own format does not send."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from anthropic.types import RawMessageStreamEvent
from openai._models import construct_type
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from cylestio_monitor.capture.sdks.anthropic.endpoints import CONTENT_KEYS as ANTHROPIC
from cylestio_monitor.capture.sdks.anthropic.redacted_stream import RedactedMessageEvents
from cylestio_monitor.capture.sdks.openai.endpoints import CONTENT_KEYS as OPENAI
from cylestio_monitor.capture.sdks.openai.redacted_streams import RedactedChunks, RedactedResponseEvents
from cylestio_monitor.govern.redaction.streamed import StreamedRedaction
from cylestio_monitor.govern.redaction.tokens import SessionTokens
from warm import scanner

MAIL, OTHER = "ann.lee@corp-example.net", "bob.ray@corp-example.net"
PIECES = ["to ann.l", "ee@corp-exam", "ple.net"]
NO_RESPONSE = {"id": "resp_1", "object": "response", "model": "gpt", "output": [], "tools": [], "created_at": 0}


@pytest.fixture(scope="module")
def scan():
    return scanner()


@pytest.fixture
def made(scan):
    def make(kind, keys):
        redaction = StreamedRedaction(scan.private, SessionTokens(), scan.open_matches, keys)
        return kind(redaction), redaction

    return make


def passed(events, given):
    return [out for event in given for out in events.passed(event)] + events.rest()


def chunk(*choices):
    """Returns a chunk as the SDK makes it of what a server sends, valid or not."""
    given = [{"finish_reason": None, "delta": {}, **choice} for choice in choices]
    value = {"id": "chatcmpl-1", "created": 0, "model": "gpt", "object": "chat.completion.chunk", "choices": given}
    return construct_type(type_=ChatCompletionChunk, value=value)


def contents(chunks, index, field="content"):
    return "".join(
        getattr(choice.delta, field, None) or "" for one in chunks for choice in one.choices if choice.index == index
    )


# --- chat completions


def test_choices_are_held_back_by_themselves_and_end_by_themselves(made):
    events, redaction = made(RedactedChunks, OPENAI)
    given = [
        chunk({"index": 0, "delta": {"content": PIECES[0]}}, {"index": 1, "delta": {"content": "from bob.ray@"}}),
        chunk({"index": 0, "delta": {"content": PIECES[1]}}),
        chunk({"index": 1, "delta": {"content": "corp-example.net"}}),
        chunk({"index": 0, "delta": {"content": PIECES[2]}}),
        chunk({"index": 0, "finish_reason": "stop"}),
        chunk({"index": 1, "finish_reason": "length"}),
    ]
    out = passed(events, given)
    assert contents(out, 0) == "to [EMAIL_1]"
    assert contents(out, 1) == "from [EMAIL_2]"
    finished = [(choice.index, choice.finish_reason) for one in out for choice in one.choices if choice.finish_reason]
    assert finished == [(0, "stop"), (1, "length")]
    assert len(out) == len(given) + 2
    assert redaction.count == 2


def test_a_chunk_that_finishes_a_choice_and_holds_its_last_text_says_all_of_it(made):
    events, _ = made(RedactedChunks, OPENAI)
    out = passed(
        events,
        [
            chunk({"index": 0, "delta": {"role": "assistant", "content": "mail ann.lee@"}}),
            chunk({"index": 0, "delta": {"content": "corp-example.net"}, "finish_reason": "stop"}),
        ],
    )
    assert len(out) == 2
    assert contents(out, 0) == "mail [EMAIL_1]"
    assert out[0].choices[0].delta.role == "assistant"


def test_what_is_held_back_comes_before_a_finish_that_holds_no_text_and_brings_nothing_else_again(made):
    events, _ = made(RedactedChunks, OPENAI)
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "send", "arguments": '{"to": "ann'}}
    given = [
        chunk({"index": 0, "delta": {"role": "assistant", "content": "see ann", "tool_calls": [first]}}),
        chunk({"index": 0, "finish_reason": "length"}),
    ]
    out = passed(events, given)
    assert contents(out, 0) == "see ann"
    calls = [call for one in out for choice in one.choices for call in choice.delta.tool_calls or ()]
    assert "".join(call.function.arguments or "" for call in calls) == '{"to": "ann'
    assert [call.function.name for call in calls if call.function.name] == ["send"]
    assert [call.id for call in calls if call.id] == ["call_1"]
    assert {call.index for call in calls} == {0}
    assert [choice.delta.role for one in out for choice in one.choices if choice.delta.role] == ["assistant"]
    assert out[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("field", ["content", "refusal", "reasoning", "reasoning_content", "unknown_text"])
def test_every_text_of_a_delta_is_redacted(made, field):
    events, _ = made(RedactedChunks, OPENAI)
    given = [chunk({"index": 0, "delta": {field: piece}}) for piece in PIECES]
    out = passed(events, given)
    assert contents(out, 0, field) == "to [EMAIL_1]"
    assert type(out[-1]) is ChatCompletionChunk


@pytest.mark.parametrize(
    "delta",
    [
        lambda piece: {"content": [{"type": "text", "text": piece}]},
        lambda piece: {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": piece}]},
        lambda piece: {"function_call": {"arguments": piece}},
        lambda piece: {"audio": {"transcript": piece}},
        lambda piece: {"tool_calls": [{"index": 3, "type": "custom", "custom": {"input": piece}}]},
    ],
)
def test_texts_inside_a_delta_are_redacted(made, delta):
    events, redaction = made(RedactedChunks, OPENAI)
    out = passed(events, [chunk({"index": 0, "delta": delta(piece)}) for piece in PIECES])
    said = str(out)
    assert "ann" not in said
    assert "[EMAIL_1]" in said
    assert redaction.count == 1


def test_arguments_of_parallel_calls_are_redacted_by_themselves(made):
    events, _ = made(RedactedChunks, OPENAI)
    pieces = [
        '{"to": "ann.lee@',
        '{"to": "bob.ray@',
        'corp-example.net", "password": "hunter',
        'corp-example.net"}',
        '2hunter2"}',
    ]
    given = [
        chunk({"index": 0, "delta": {"tool_calls": [{"index": at % 2, "function": {"arguments": piece}}]}})
        for at, piece in zip([0, 1, 0, 1, 0], pieces, strict=True)
    ]
    out = passed(events, given)
    said = {0: "", 1: ""}
    for one in out:
        for call in one.choices[0].delta.tool_calls or ():
            said[call.index] += call.function.arguments or ""
    assert json.loads(said[0]) == {"to": "[EMAIL_1]", "password": "[NAMED_FIELD_1]"}
    assert json.loads(said[1]) == {"to": "[EMAIL_2]"}


def test_a_chunk_of_a_completion_is_redacted(made):
    events, _ = made(RedactedChunks, OPENAI)
    choices = [{"index": 0, "finish_reason": None, "text": piece} for piece in PIECES]
    choices.append({"index": 0, "finish_reason": "stop", "text": ""})
    given = [construct_type(type_=Completion, value={"id": "cmpl", "choices": [choice]}) for choice in choices]
    out = passed(events, given)
    assert "".join(one.choices[0].text for one in out) == "to [EMAIL_1]"
    assert out[-1].choices[0].finish_reason == "stop"
    assert {type(one) for one in out} == {Completion}


def test_a_chunk_without_anything_private_is_the_same_object(made):
    events, _ = made(RedactedChunks, OPENAI)
    given = [chunk({"index": 0, "delta": {"role": "assistant"}}), chunk({"index": 0, "finish_reason": "stop"})]
    assert [one is other for one, other in zip(passed(events, given), given, strict=True)] == [True, True]


# --- messages


EVENT = TypeAdapter(RawMessageStreamEvent)


def delta(index, kind, field, text):
    return EVENT.validate_python({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: text}})


def test_blocks_that_interleave_are_held_back_by_themselves(made):
    events, _ = made(RedactedMessageEvents, ANTHROPIC)
    given = [
        delta(0, "text_delta", "text", "to ann.lee@"),
        delta(1, "thinking_delta", "thinking", "from bob.ray@"),
        delta(0, "text_delta", "text", "corp-example.net"),
        delta(1, "thinking_delta", "thinking", "corp-example.net"),
        delta(1, "signature_delta", "signature", "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"),
        EVENT.validate_python({"type": "content_block_stop", "index": 1}),
        EVENT.validate_python({"type": "content_block_stop", "index": 0}),
    ]
    out = passed(events, given)
    texts = [event.delta.text for event in out if getattr(event, "delta", None) and event.delta.type == "text_delta"]
    thoughts = [
        event.delta.thinking for event in out if getattr(event, "delta", None) and event.delta.type == "thinking_delta"
    ]
    assert "".join(texts) == "to [EMAIL_2]"
    assert "".join(thoughts) == "from [EMAIL_1]"
    assert [event.delta.signature for event in out if getattr(getattr(event, "delta", None), "signature", None)] == [
        "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"
    ]
    stops = [place for place, event in enumerate(out) if event.type == "content_block_stop"]
    assert out[stops[0] - 1].index == 1
    assert out[stops[1] - 1].index == 0


def test_a_block_that_begins_with_content_and_one_that_comes_whole_are_redacted(made):
    events, _ = made(RedactedMessageEvents, ANTHROPIC)
    begun = {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"to": MAIL}}
    result = {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "title": f"Page of {OTHER}",
                "url": "https://x.example.com",
                "encrypted_content": "a",
            }
        ],
    }
    given = [
        EVENT.validate_python({"type": "content_block_start", "index": at, "content_block": block})
        for at, block in enumerate([begun, result, {"type": "text", "text": f"to {MAIL}"}])
    ]
    out = passed(events, given)
    assert out[0].content_block.input == {"to": "[EMAIL_1]"}
    assert out[1].content_block.content[0].title == "Page of [EMAIL_2]"
    assert out[2].content_block.text == "to [EMAIL_1]"
    assert [type(one) for one in out] == [type(one) for one in given]


def test_a_citation_is_redacted_as_a_whole(made):
    events, _ = made(RedactedMessageEvents, ANTHROPIC)
    citation = {
        "type": "char_location",
        "cited_text": f"by {MAIL}",
        "document_index": 0,
        "start_char_index": 0,
        "end_char_index": 9,
    }
    given = [
        delta(0, "text_delta", "text", "as ann"),
        EVENT.validate_python(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}}
        ),
    ]
    out = passed(events, given)
    assert out[1].delta.citation.cited_text == "by [EMAIL_1]"
    assert out[-1].delta.text.endswith("ann")


def test_a_piece_of_something_unknown_does_not_pass(made):
    events, _ = made(RedactedMessageEvents, ANTHROPIC)
    with pytest.raises(ValueError, match="unknown"):
        events.passed(SimpleNamespace(type="content_image_delta", index=0, text=PIECES[0]))


# --- responses


def event(kind, **fields):
    return TypeAdapter(ResponseStreamEvent).validate_python(
        {"type": kind, "sequence_number": 1, "item_id": "i", **fields}
    )


@pytest.mark.parametrize(
    ("kind", "where", "field"),
    [
        ("response.output_text", {"output_index": 0, "content_index": 0, "logprobs": []}, "text"),
        ("response.refusal", {"output_index": 0, "content_index": 0}, "refusal"),
        ("response.reasoning_summary_text", {"output_index": 0, "summary_index": 0}, "text"),
        ("response.reasoning_text", {"output_index": 0, "content_index": 0}, "text"),
        ("response.custom_tool_call_input", {"output_index": 0}, "input"),
        ("response.code_interpreter_call_code", {"output_index": 0}, "code"),
    ],
)
def test_the_deltas_of_a_text_and_its_end_say_the_same(made, kind, where, field):
    events, redaction = made(RedactedResponseEvents, OPENAI)
    given = [event(f"{kind}.delta", delta=piece, **where) for piece in PIECES]
    given.append(event(f"{kind}.done", **{field: f"to {MAIL}"}, **where))
    out = passed(events, given)
    assert "".join(one.delta for one in out if one.type.endswith(".delta")) == "to [EMAIL_1]"
    assert getattr(out[-1], field) == "to [EMAIL_1]"
    assert redaction.count == 1


def test_texts_of_several_items_are_held_back_by_themselves(made):
    events, _ = made(RedactedResponseEvents, OPENAI)
    kind = "response.output_text.delta"
    given = [
        event(kind, output_index=0, content_index=0, delta="to ann.lee@", logprobs=[]),
        event(kind, output_index=1, content_index=0, delta="from bob.ray@", logprobs=[]),
        event(kind, output_index=0, content_index=0, delta="corp-example.net", logprobs=[]),
        event(kind, output_index=1, content_index=0, delta="corp-example.net", logprobs=[]),
    ]
    out = passed(events, given)
    said = {index: "".join(one.delta for one in out if one.output_index == index) for index in (0, 1)}
    assert said == {0: "to [EMAIL_1]", 1: "from [EMAIL_2]"}


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_the_end_of_a_response_brings_what_was_held_back(made, kind):
    events, _ = made(RedactedResponseEvents, OPENAI)
    where = {"output_index": 0, "content_index": 0, "logprobs": []}
    last = TypeAdapter(ResponseStreamEvent).validate_python(
        {
            "type": kind,
            "sequence_number": 9,
            "response": {**NO_RESPONSE, "parallel_tool_calls": True, "tool_choice": "auto"},
        }
    )
    out = passed(events, [event("response.output_text.delta", delta="to ann.lee", **where), last])
    assert [one.type for one in out] == ["response.output_text.delta"] * 2 + [kind]
    assert "".join(one.delta for one in out[:2]) == "to ann.lee"
    assert out[1].sequence_number == 9
