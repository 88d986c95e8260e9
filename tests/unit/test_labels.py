"""Names, ids and errors are redacted, without control characters, wherever they are recorded."""

import json

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.config import KeywordSettings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Message, Part, Result, ToolDefinition
from road import AWS, answer

EMAIL = "ann.lee@customer-corp.io"
HOSTILE = ["\x1b[2J", "\x1b]0;title\x07", "\r\nforged: line", "\x00", "\u202e", "\x9b31m"]


def _with(place, text):  # noqa: PLR0912 -- one case for each place
    """A call and its answer, with a text in one place outside of the content."""
    call, result = Call("chat", "chat m", provider="anthropic", model="m"), answer("ok")
    user = [Message("user", [Part("text", "hi", path="messages[0]")])]
    call.messages = user
    match place:
        case "model":
            call.model, call.name = text, f"chat {text}"
        case "tool":
            call = Call("execute_tool", f"execute_tool {text}", "internal", tool_name=text, arguments={"a": 1})
            result = Result(response="ok")
        case "user":
            call.user_id = text
        case "conversation":
            call.conversation_id = text
        case "stop sequence":
            call.attributes[semconv.REQUEST_STOP_SEQUENCES] = ["x", text]
        case "offered tool":
            call.tools = [ToolDefinition(text, "finds things", path="tools[0]")]
        case "requested tool":
            result.messages[0].parts.append(Part("tool_call", {"a": 1}, name=text, id="1", path="b"))
        case "tool call id":
            result.messages[0].parts.append(Part("tool_call", {"a": 1}, name="t", id=text, path="b"))
        case "response id":
            result.response_id = text
        case "response model":
            result.model = text
        case "finish reason":
            result.finish_reasons = [text]
            result.messages[0].finish_reason = text
        case "role":
            call.messages = [Message(text, [Part("text", "hi", path="messages[0]")])]
        case "other attribute":
            call.attributes["mcp.resource.uri"] = f"file:///{text}"
        case "error type":
            result.error_type = text
    return call, result


PLACES = [
    *("model", "tool", "user", "conversation", "stop sequence", "offered tool", "requested tool", "tool call id"),
    *("response id", "response model", "finish reason", "role", "other attribute", "error type"),
]


def everything(here):
    span = here.span()
    recorded = {
        "name": span.name,
        "attributes": dict(span.attributes),
        "events": [dict(event.attributes) for event in span.events],
        "status": span.status.description,
        "metrics": [dict(point.attributes) for name in METRICS for point in here.points(name)],
    }
    return json.dumps(recorded, ensure_ascii=False, default=list)


METRICS = [semconv.METRIC_FINDINGS, semconv.METRIC_CLIENT_DURATION]


@pytest.mark.parametrize("content", [None, "masked"])
@pytest.mark.parametrize("secret", [AWS, EMAIL])
@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_a_name_is_redacted(road, place, secret, content):
    here = road(content=content)
    for _ in range(2):
        call, result = _with(place, f"x {secret}")
        here.pipeline.begin(call).end(result)
        assert secret not in everything(here)


@pytest.mark.parametrize("number", ["4111-1111-1111-1111", "4111111111111111", "212-555-0187"])
@pytest.mark.parametrize("place", ["model", "tool", "user", "stop sequence", "offered tool", "tool call id"])
def test_a_name_that_is_a_number_is_no_id(road, place, number):
    here = road(content="masked")
    call, result = _with(place, number)
    here.pipeline.begin(call).end(result)
    assert number not in everything(here)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", PLACES)
def test_control_characters_in_a_name_are_removed(road, place, hostile):
    here = road(content="masked")
    call, result = _with(place, f"a{hostile}b")
    here.pipeline.begin(call).end(result)
    span = here.span()
    texts = [span.name, *_texts(dict(span.attributes))]
    assert not [text for text in texts if any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in text)]
    assert "\u202e" not in "".join(texts)


def _texts(attributes):
    for value in attributes.values():
        yield from (
            [value]
            if isinstance(value, str)
            else [item for item in value if isinstance(item, str)]
            if isinstance(value, tuple)
            else []
        )


@pytest.mark.parametrize("key", [f"{AWS} is my key", f"mail {EMAIL}", "\x1b]0;pwn\x07\x1b[2J\nforged: line"])
def test_a_key_of_the_arguments_is_redacted_in_paths_events_and_errors(road, key):
    here = road(mode="block", keywords=KeywordSettings(dangerous=("zebra",), defaults=False))
    call = Call("execute_tool", "execute_tool t", "internal", tool_name="t", arguments={key: "a zebra"})
    with pytest.raises(BlockedError) as caught:
        here.pipeline.begin(call)
    texts = [str(caught.value), *(finding.path for finding in caught.value.findings), everything(here)]
    for text in texts:
        assert AWS not in text
        assert EMAIL not in text
        assert "\x1b" not in text
        assert "\\u001b" not in text
        assert "\n" not in text


@pytest.mark.parametrize("offset", [0, 900, 1000, 1020, 5000])
def test_the_text_of_an_error_is_redacted_before_it_is_cut(road, offset):
    here = road(content="masked")
    secret = "sk-ant-api03-" + "aB3dE5fG7h" * 9 + "xyzAA"
    here.pipeline.begin(Call("chat", "chat m")).end(error=ValueError("x" * offset + f" {secret} end"))
    description = here.span().status.description
    assert secret[:20] not in description
    assert len(description.encode()) <= 1024


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "KeyError"), ("masked", "'customer Jane Roe'"), ("full", "'customer Jane Roe'")]
)
def test_with_content_off_only_the_type_of_an_error_is_recorded(road, content, expected):
    here = road(content=content)
    here.pipeline.begin(Call("chat", "chat m")).end(error=KeyError("customer Jane Roe"))
    span = here.span()
    assert span.status.description == expected
    assert span.attributes[semconv.ERROR_TYPE] == "KeyError"


@pytest.mark.parametrize(
    ("name", "given", "recorded"),
    [
        (semconv.REQUEST_TEMPERATURE, 1, 1.0),
        (semconv.REQUEST_TOP_P, 0, 0.0),
        (semconv.REQUEST_TOP_K, 40, 40.0),
        (semconv.REQUEST_MAX_TOKENS, 100.0, 100),
        (semconv.REQUEST_MAX_TOKENS, 100.5, 100.5),
        (semconv.REQUEST_SEED, 2**70, str(2**70)),
        (semconv.REQUEST_TEMPERATURE, 10**400, None),
        (semconv.REQUEST_TEMPERATURE, "hot", "hot"),
        (semconv.REQUEST_TEMPERATURE, True, True),
    ],
)
def test_a_number_has_the_type_of_the_conventions(road, name, given, recorded):
    here = road()
    here.pipeline.begin(Call("chat", "chat m", attributes={name: given})).end(answer("ok"))
    value = here.span().attributes[name]
    if recorded is None:
        assert isinstance(value, str)
    else:
        assert (value, type(value)) == (recorded, type(recorded))
