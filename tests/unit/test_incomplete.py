"""A part that cannot be scanned is reported and refused; the other parts of the call are scanned."""

import copy
import json

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.config import KeywordSettings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import INCOMPLETE, Call, Message, Part, Result, ToolDefinition, incomplete
from cylestio_monitor.store import Store
from cylestio_monitor.store.read import queries
from road import AWS, answer

KEYWORDS = KeywordSettings(dangerous=("zebra",), suspicious=("lion",), defaults=False)


class RaisingText(str):
    """A text whose own methods raise; its characters are those that an SDK sends."""

    __slots__ = ()

    def _raise(self, *_):
        raise RuntimeError("no")

    __len__ = __iter__ = __contains__ = __getitem__ = __eq__ = __hash__ = __str__ = isascii = lower = encode = _raise


class RaisingValue:
    """A value of the application that raises when it is read."""

    def _raise(self, *_):
        raise RuntimeError("no")

    __str__ = __repr__ = __iter__ = __len__ = __hash__ = __eq__ = _raise


@pytest.fixture
def broken(monkeypatch):
    """A function that makes one kind of scan raise for texts that hold a word."""

    def make(pipeline, method):
        original = getattr(pipeline.scanner, method)

        def scan(given, *args, **kwargs):
            if "boom" in str(getattr(given, "description", given)):
                raise ZeroDivisionError("a fault of the scanner")
            return original(given, *args, **kwargs)

        monkeypatch.setattr(pipeline.scanner, method, scan)

    return make


def _texts():
    yield "system", Call("chat", "c", system=[Part("text", "boom", path="here")])
    yield "message", Call("chat", "c", messages=[Message("user", [Part("text", "boom", path="here")])])
    yield (
        "tool result",
        Call("chat", "c", messages=[Message("tool", [Part("tool_call_response", "boom", path="here")])]),
    )


def _values():
    yield "arguments", Call("execute_tool", "c", "internal", tool_name="t", arguments={"a": "boom"})
    part = Part("tool_call", {"a": "boom"}, name="t", path="here")
    yield "tool call", Call("chat", "c", messages=[Message("assistant", [part])])


def _definitions():
    yield "tool definition", Call("chat", "c", tools=[ToolDefinition("t", "boom", path="here")])


INPUTS = [("text", *case) for case in _texts()] + [("value", *case) for case in _values()]
INPUTS += [("tool_definition", *case) for case in _definitions()]


def rules(span):
    return set(span.attributes.get(semconv.RULES, ()))


@pytest.mark.parametrize(("method", "place", "call"), INPUTS, ids=[case[1] for case in INPUTS])
def test_a_fault_of_the_scanner_is_contained_to_its_part(road, broken, method, place, call):
    here = road(keywords=KEYWORDS)
    broken(here.pipeline, method)
    call = copy.copy(call)
    call.messages = [*call.messages, Message("user", [Part("text", "a zebra", path="other")])]
    here.pipeline.begin(call).end(answer("ok"))
    span = here.span()
    assert rules(span) == {INCOMPLETE, "keyword.user.zebra"}
    assert span.attributes[semconv.SCANNED] is False
    assert span.attributes[semconv.SCAN_INCOMPLETE] == ("ZeroDivisionError",)
    counted = {point.attributes["rule"]: point.value for point in here.points(semconv.METRIC_FINDINGS) if point.value}
    assert counted[INCOMPLETE] == 1


@pytest.mark.parametrize(("method", "place", "call"), INPUTS, ids=[case[1] for case in INPUTS])
@pytest.mark.parametrize(("setting", "refused"), [({}, True), ({"block_unreadable": False}, False)])
def test_block_mode_refuses_it_unless_the_setting_is_off(road, broken, method, place, call, setting, refused):
    here = road(keywords=KEYWORDS, mode="block", **setting)
    broken(here.pipeline, method)
    if refused:
        with pytest.raises(BlockedError, match=r"rule scan\.incomplete"):
            here.pipeline.begin(call)
        assert here.span().attributes[semconv.ACTION] == "block"
    else:
        here.pipeline.begin(call).end(answer("ok"))
        assert here.span().attributes[semconv.ACTION] == "audit"


@pytest.mark.parametrize("way", ["whole", "pieces", "part"])
def test_a_fault_in_the_answer_is_reported(road, monkeypatch, way):
    here = road(keywords=KEYWORDS)
    begun = here.pipeline.begin(Call("chat", "c", messages=[Message("user", [Part("text", "hi", path="m")])]))

    def boom(*_, **__):
        raise ZeroDivisionError("a fault of the scanner")

    part = Part("text", "a horse " * 1000, path="a")
    streamed = begun.streamed("a") if way == "pieces" else None
    monkeypatch.setattr(here.pipeline.scanner, "text", boom)
    if streamed is not None:
        monkeypatch.setattr(type(streamed._stream), "feed", boom)
        monkeypatch.setattr(type(streamed._stream), "finish", boom)
        streamed.add(part.content)
    if way == "part":
        begun.check([part])
    begun.end(Result(messages=[Message("assistant", [part])]))
    span = here.span()
    assert rules(span) == {INCOMPLETE}
    assert span.attributes[semconv.SCANNED] is False


def test_pieces_whose_scan_fails_once_are_scanned_again_as_a_whole(road, monkeypatch):
    here = road(keywords=KEYWORDS)
    begun = here.pipeline.begin(Call("chat", "c"))
    streamed = begun.streamed("a")
    feed = type(streamed._stream).feed
    monkeypatch.setattr(type(streamed._stream), "feed", lambda *_: 1 / 0)
    streamed.add("a zebra. " + "x" * 5000)
    monkeypatch.setattr(type(streamed._stream), "feed", feed)
    begun.end(Result(messages=[Message("assistant", [Part("text", "a zebra. " + "x" * 5000, path="a")])]))
    assert "keyword.user.zebra" in rules(here.span())


@pytest.mark.parametrize("subtype", ["text", "system", "tool_call_response"])
def test_a_text_whose_methods_raise_is_scanned_by_its_characters(road, subtype):
    here = road(keywords=KEYWORDS, content="masked")
    part = Part("text" if subtype == "system" else subtype, RaisingText(f"a zebra and {AWS}"), path="here")
    call = (
        Call("chat", "c", system=[part])
        if subtype == "system"
        else Call("chat", "c", messages=[Message("user", [part])])
    )
    here.pipeline.begin(call).end(answer("ok"))
    span = here.span()
    assert "keyword.user.zebra" in rules(span)
    assert AWS not in json.dumps(dict(span.attributes), default=list)


def test_a_value_that_raises_leaves_the_rest_of_the_call_scanned(road):
    here = road(keywords=KEYWORDS)
    call = Call("execute_tool", "c", "internal", tool_name="t", arguments={"a": RaisingValue(), "b": "a zebra"})
    here.pipeline.begin(call).end(Result(response={"a": RaisingValue(), "b": "a lion"}))
    assert {"keyword.user.zebra", "keyword.user.lion"} <= rules(here.span())


@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_a_part_that_no_reader_understood_is_reported_and_refused(road, mode):
    here = road(mode=mode)
    call = Call(
        "chat", "c", messages=[Message("user", [Part("unreadable", "TypeError", path="messages[0].content[1]")])]
    )
    if mode == "block":
        with pytest.raises(BlockedError, match=r"scan\.incomplete at messages\[0\]\.content\[1\]"):
            here.pipeline.begin(call)
    else:
        here.pipeline.begin(call).end(answer("ok"))
    span = here.span()
    assert span.attributes[semconv.SCANNED] is False
    assert span.attributes[semconv.SCAN_INCOMPLETE] == ("TypeError",)
    assert span.events[0].attributes[semconv.FINDING_REASON] == "TypeError"


@pytest.mark.parametrize("enforce", [False, True])
def test_a_part_of_an_answer_that_no_reader_understood_is_refused_where_it_can_be(road, enforce):
    here = road(mode="block")
    begun = here.pipeline.begin(Call("chat", "c"))
    result = Result(messages=[Message("assistant", [Part("unreadable", "KeyError", path="choices[0]")])])
    if enforce:
        with pytest.raises(BlockedError):
            begun.end(result, enforce=True)
    else:
        begun.end(result)
    assert here.span().attributes[semconv.ACTION] == ("block" if enforce else "audit")


def test_a_cap_of_the_scanner_counts_as_incomplete_and_masks_what_is_recorded(road, monkeypatch):
    here = road(content="masked")
    report = incomplete("depth", target="output", subtype="tool_call", path="arguments")
    original = here.pipeline.scanner.value
    monkeypatch.setattr(here.pipeline.scanner, "value", lambda *args, **kwargs: [*original(*args, **kwargs), report])
    call = Call("execute_tool", "c", "internal", tool_name="t", arguments={"a": f"key {AWS}"})
    here.pipeline.begin(call).end()
    span = here.span()
    assert span.attributes[semconv.SCANNED] is False
    assert span.attributes[semconv.SCAN_INCOMPLETE] == ("depth",)
    assert AWS not in span.attributes[semconv.TOOL_CALL_ARGUMENTS]


def test_an_incomplete_scan_is_stored_as_a_finding(road, tmp_path, monkeypatch):
    here = road()
    here.pipeline.store = store = Store.open(tmp_path / "store.db", here.settings.store)
    call = Call("chat", "c", messages=[Message("user", [Part("unreadable", "TypeError", path="here")])])
    begun = here.pipeline.begin(call)
    begun.end(answer("ok"))
    store.add_span(here.span())
    store.flush(10)
    with queries.connect(tmp_path / "store.db") as connection:
        assert connection.execute("SELECT rule_id, path FROM findings").fetchall()[0][:2] == (INCOMPLETE, "here")
    store.close()
