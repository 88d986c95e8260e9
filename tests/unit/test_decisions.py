"""The decisions of the pipeline as tables: surface, what was scanned before, order of findings, mode."""

import itertools
from typing import NamedTuple

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.config import KeywordSettings
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Message, Part, Result, ToolDefinition

WORDS = {"dangerous": "a zebra", "suspicious": "a lion", "none": "a horse"}
KEYWORDS = KeywordSettings(dangerous=("zebra",), suspicious=("lion",), defaults=False)
BAD = WORDS["dangerous"]
OK = Message("assistant", [Part("text", "fine", path="answer")], "stop")
GO_ON = Message("user", [Part("text", "go on", path="next")])


def message(role, kind="text", wrap=lambda text: text, name=None):
    return lambda text: Message(role, [Part(kind, wrap(text), name=name, id="1" if name else None, path="here")])


def in_arguments(text):
    return {"animals": [text]}


MESSAGES = {
    "text of the user": (message("user"), "input", "llm"),
    "text of a provider's own role": (message("narrator"), "input", "llm"),
    "text of the system": (message("system"), "input", "system"),
    "text of the developer": (message("developer"), "input", "system"),
    "text of a tool": (message("tool"), "input", "tool_result"),
    "text of a function": (message("function"), "input", "tool_result"),
    "result of a tool": (message("user", "tool_call_response"), "input", "tool_result"),
    "structured result of a tool": (message("user", "tool_call_response", in_arguments), "input", "tool_result"),
    "result of a provider's tool": (message("user", "server_tool_call_response", in_arguments), "input", "tool_result"),
    "a part that is not text": (message("user", "custom", in_arguments), "input", "llm"),
}
"""A message that says a text, and the target and subtype that a finding in it has."""

ANSWERS = {
    "text of the assistant": (message("assistant"), "output", "llm"),
    "text of the model": (message("model"), "output", "llm"),
    "reasoning": (message("assistant", "reasoning"), "output", "llm"),
    "call of a tool": (message("assistant", "tool_call", in_arguments, "look"), "output", "tool_call"),
    "tool of a provider": (
        message("assistant", "server_tool_call", in_arguments, "look"),
        "output",
        "tool_call",
    ),
}
"""The same for what a model says; in a request it is history by itself."""

AROUND = {
    "system prompt": (lambda text: {"system": [Part("text", text, path="here")]}, "input", "system"),
    "description of a tool": (
        lambda text: {"tools": [ToolDefinition("look", text, path="here")]},
        "input",
        "tool_definition",
    ),
    "schema of a tool": (
        lambda text: {"tools": [ToolDefinition("look", "Looks.", {"description": text}, path="here")]},
        "input",
        "tool_definition",
    ),
}
"""Fields of a call beside its messages."""


class Request(NamedTuple):
    """A call that says a text on one surface."""

    surface: str
    text: str

    def first(self):
        """It begins a conversation."""
        if self.surface in AROUND:
            return chat(GO_ON, **AROUND[self.surface][0](self.text))
        if self.surface in ANSWERS:
            return chat(GO_ON, ANSWERS[self.surface][0](self.text), GO_ON)
        return chat(MESSAGES[self.surface][0](self.text))

    def history(self):
        """The model has answered to it."""
        if self.surface in AROUND:
            return chat(GO_ON, OK, GO_ON, **AROUND[self.surface][0](self.text))
        if self.surface in ANSWERS:
            return chat(GO_ON, ANSWERS[self.surface][0](self.text), GO_ON, OK, GO_ON)
        return chat(MESSAGES[self.surface][0](self.text), OK, GO_ON)

    def again(self):
        """It stands after the last answer of the model."""
        return chat(GO_ON, OK, MESSAGES[self.surface][0](self.text))


def chat(*messages, **fields):
    return Call("chat", "chat m", provider="anthropic", model="m", messages=list(messages), **fields)


@pytest.fixture
def here(road):
    return lambda **settings: road(keywords=KEYWORDS, **settings)


def alert(here):
    return here.span().attributes[semconv.ALERT]


def report(span):
    """Verdict, action and alert of a span."""
    return tuple(span.attributes[name] for name in (semconv.VERDICT, semconv.ACTION, semconv.ALERT))


SURFACES = {**MESSAGES, **ANSWERS, **AROUND}


@pytest.mark.parametrize("surface", SURFACES)
def test_a_text_is_found_on_its_surface_and_nothing_in_a_harmless_one(here, surface):
    running = here()
    running.pipeline.begin(Request(surface, BAD).first()).end(Result(messages=[OK]))
    span = running.span()
    (event,) = span.events
    _, target, subtype = SURFACES[surface]
    assert (event.attributes[semconv.FINDING_TARGET], event.attributes[semconv.FINDING_SUBTYPE]) == (target, subtype)
    assert event.attributes[semconv.FINDING_PATH].startswith("here")
    assert report(span) == ("deny", "audit", "dangerous")
    running.pipeline.begin(Request(surface, WORDS["none"]).first()).end(Result(messages=[OK]))
    assert report(running.span()) == ("allow", "allow", "none")


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("ending", ["answered", "closed early", "failed", "cancelled"])
def test_history_is_known_once_its_call_went_through(here, surface, ending):
    """A call that failed may never have reached the model; its caller sends the same again, and is told again."""
    running = here()
    begun = running.pipeline.begin(Request(surface, BAD).first())
    match ending:
        case "answered":
            begun.end(Result(messages=[OK]))
        case "closed early":
            begun.abandon()
            running.pipeline.flush()
        case "failed":
            begun.end(error=ConnectionError("down"))
        case "cancelled":
            begun.end(error=KeyboardInterrupt())
    assert alert(running) == "dangerous"
    for expected in ("none" if ending in {"answered", "closed early"} else "dangerous", "none"):
        running.pipeline.begin(Request(surface, BAD).history()).end(Result(messages=[OK]))
        assert alert(running) == expected


@pytest.mark.parametrize("surface", {**MESSAGES, **AROUND})
def test_a_new_conversation_with_a_known_text_is_told_of(here, surface):
    running = here()
    for _ in range(3):
        running.pipeline.begin(Request(surface, BAD).first()).end(Result(messages=[OK]))
        assert alert(running) == "dangerous"


@pytest.mark.parametrize("surface", MESSAGES)
def test_a_known_text_said_again_after_the_last_answer_is_told_of(here, surface):
    running = here()
    running.pipeline.begin(Request(surface, BAD).first()).end(Result(messages=[OK]))
    running.span()
    running.pipeline.begin(Request(surface, BAD).again()).end(Result(messages=[OK]))
    assert alert(running) == "dangerous"


@pytest.mark.parametrize("surface", SURFACES)
def test_history_that_changed_is_scanned(here, surface):
    running = here()
    running.pipeline.begin(Request(surface, WORDS["none"]).first()).end(Result(messages=[OK]))
    running.span()
    running.pipeline.begin(Request(surface, BAD).history()).end(Result(messages=[OK]))
    assert alert(running) == "dangerous"


@pytest.mark.parametrize("surface", ANSWERS)
@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_that_was_reported_is_history_once_its_call_went_through(here, surface, fails):
    running = here()
    answer = ANSWERS[surface][0](BAD)
    error = ConnectionError("cut off") if fails else None
    running.pipeline.begin(chat(GO_ON)).end(Result(messages=[answer]), error)
    assert alert(running) == "dangerous"
    running.pipeline.begin(chat(GO_ON, answer, GO_ON)).end(Result(messages=[OK]))
    assert alert(running) == ("dangerous" if fails else "none")


@pytest.mark.parametrize("fields", [{"name": "search"}, {"description": "Finds."}, {"parameters": {"type": "object"}}])
def test_a_tool_that_changed_in_any_field_is_scanned_again(here, fields):
    """The poisoned description is not new, the tool is."""
    running = here()
    tool = {"name": "look", "description": BAD, "parameters": {}, "path": "tools[0]"}
    running.pipeline.begin(chat(GO_ON, tools=[ToolDefinition(**tool)])).end(Result(messages=[OK]))
    running.span()
    changed = ToolDefinition(**{**tool, "description": f"{BAD}.", **fields})
    if "description" in fields:
        changed.parameters = {"description": BAD}
    running.pipeline.begin(chat(GO_ON, OK, GO_ON, tools=[changed])).end(Result(messages=[OK]))
    assert alert(running) == "dangerous"


def test_arguments_and_response_of_a_tool_are_never_known(here):
    running = here()
    for _ in range(2):
        call = Call("execute_tool", "execute_tool look", "internal", tool_name="look", arguments={"animal": BAD})
        running.pipeline.begin(call).end(Result(response={"found": [BAD]}))
        sides = [
            (event.attributes[semconv.FINDING_TARGET], event.attributes[semconv.FINDING_SUBTYPE])
            for event in running.span().events
        ]
        assert sides == [("output", "tool_call"), ("input", "tool_result")]


RANKS = ("none", "suspicious", "dangerous")
VERDICT_OF = {"none": ("allow", "allow"), "suspicious": ("warn", "audit"), "dangerous": ("deny", "audit")}


@pytest.mark.parametrize(("asked", "answered"), list(itertools.product(RANKS, RANKS)))
def test_the_stricter_side_gives_the_verdict_whatever_its_order(here, asked, answered):
    """A milder finding that comes later does not hide a graver one."""
    running = here()
    begun = running.pipeline.begin(chat(Message("user", [Part("text", WORDS[asked], path="question")])))
    begun.end(Result(messages=[Message("assistant", [Part("text", WORDS[answered], path="answer")])]))
    worst = max(asked, answered, key=RANKS.index)
    assert report(running.span()) == (*VERDICT_OF[worst], worst)


@pytest.mark.parametrize("ranks", list(itertools.permutations(RANKS)))
def test_the_order_of_findings_within_a_side_does_not_matter(here, ranks):
    running = here()
    parts = [Part("text", WORDS[rank], path=rank) for rank in ranks]
    begun = running.pipeline.begin(chat(Message("user", parts)))
    begun.end(Result(messages=[OK]))
    span = running.span()
    assert report(span) == ("deny", "audit", "dangerous")
    paths = [event.attributes[semconv.FINDING_PATH] for event in span.events]
    assert paths == [rank for rank in ranks if rank != "none"]


@pytest.mark.parametrize("ranks", list(itertools.permutations(RANKS)))
def test_the_pieces_of_a_streamed_answer_are_judged_like_a_whole_one(here, ranks):
    running = here()
    begun = running.pipeline.begin(chat(GO_ON))
    text = ""
    for rank in ranks:
        piece = f"{WORDS[rank]} and a wide plain with nothing on it; " + "grass, " * 800
        begun.streamed("answer").add(piece)
        text += piece
    begun.end(Result(messages=[Message("assistant", [Part("text", text, path="answer")])]))
    span = running.span()
    assert report(span) == ("deny", "audit", "dangerous")
    assert span.attributes[semconv.FINDING_COUNT] == 2


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("block", "rank", "refused"),
    [
        (("dangerous",), "dangerous", True),
        (("dangerous",), "suspicious", False),
        (("suspicious", "dangerous"), "suspicious", True),
        (("dangerous",), "none", False),
        ((), "dangerous", False),
    ],
)
def test_a_request_is_refused_at_the_levels_of_the_setting_and_each_time(here, surface, block, rank, refused):
    running = here(mode="block", block=block)
    for _ in range(2):
        if not refused:
            running.pipeline.begin(Request(surface, WORDS[rank]).first()).end(Result(messages=[OK]))
            assert running.span().attributes[semconv.ACTION] in {"allow", "audit"}
            continue
        with pytest.raises(BlockedError, match=r"blocked this call: rule \S+ at here") as caught:
            running.pipeline.begin(Request(surface, WORDS[rank]).first())
        assert [finding.alert for finding in caught.value.findings] == [rank]
        assert report(running.span()) == ("deny", "block", rank)


def answered_text(text):
    return Result(messages=[Message("assistant", [Part("text", text, path="here")])])


def answered_call(text):
    return Result(messages=[Message("assistant", [Part("tool_call", {"a": text}, name="look", id="1", path="here")])])


def responded(text):
    return Result(response={"rows": [text]})


def listed(text):
    return Result(tools=[ToolDefinition("look", text, path="here")])


@pytest.mark.parametrize("mode", ["monitor", "block"])
@pytest.mark.parametrize("enforce", [False, True])
@pytest.mark.parametrize(
    ("answer", "refusable"), [(answered_text, False), (answered_call, True), (responded, False), (listed, False)]
)
@pytest.mark.parametrize("rank", RANKS)
def test_of_an_answer_only_a_dangerous_call_of_a_tool_can_be_refused(here, mode, enforce, answer, refusable, rank):
    running = here(mode=mode)
    begun = running.pipeline.begin(chat(GO_ON))
    refused = refusable and mode == "block" and rank == "dangerous"
    if refused and enforce:
        with pytest.raises(BlockedError, match=r"blocked this answer: rule \S+ at here"):
            begun.end(answer(WORDS[rank]), enforce=True)
    else:
        begun.end(answer(WORDS[rank]), enforce=enforce)
    verdict, action = VERDICT_OF[rank]
    assert report(running.span()) == (verdict, "block" if refused and enforce else action, rank)


def test_a_refusal_names_the_worst_finding_of_several(here):
    running = here(mode="block", block=("suspicious", "dangerous"))
    parts = [Part("text", WORDS[rank], path=rank) for rank in ("none", "suspicious", "dangerous", "suspicious")]
    with pytest.raises(BlockedError, match=r"at dangerous$") as caught:
        running.pipeline.begin(chat(Message("user", parts)))
    assert [finding.path for finding in caught.value.findings] == ["dangerous", "suspicious", "suspicious"]


def test_a_refused_call_is_named_with_its_tool_and_cannot_be_ended_again(here):
    running = here(mode="block")
    call = Call("execute_tool", "execute_tool", "internal", tool_name="look\x00" + "x" * 200, arguments={"a": BAD})
    with pytest.raises(BlockedError) as caught:
        running.pipeline.begin(call)
    assert " of tool look" in str(caught.value)
    assert len(str(caught.value)) < 200
    assert running.span().attributes[semconv.ACTION] == "block"


@pytest.mark.parametrize(
    ("parts", "refused"),
    [
        ([Part("text", BAD, path="a")], False),
        ([Part("tool_call", {"a": BAD}, name="look", id="1", path="a")], True),
        ([Part("tool_call", {"a": WORDS["suspicious"]}, name="look", id="1", path="a")], False),
        ([], False),
    ],
)
def test_parts_that_are_complete_before_the_answer_are_judged_once(here, parts, refused):
    running = here(mode="block")
    begun = running.pipeline.begin(chat(GO_ON))
    assert begun.can_block
    assert begun.check(parts) is refused
    begun.end(Result(messages=[Message("assistant", parts)]))
    span = running.span()
    assert (span.attributes[semconv.ACTION] == "block") is refused
    assert span.attributes[semconv.FINDING_COUNT] == len(parts)


def test_a_part_that_differs_from_the_one_that_was_checked_is_scanned(here):
    running = here()
    begun = running.pipeline.begin(chat(GO_ON))
    begun.check([Part("text", WORDS["none"], path="a")])
    begun.end(Result(messages=[Message("assistant", [Part("text", BAD, path="a")])]))
    assert alert(running) == "dangerous"


@pytest.mark.parametrize(("mode", "enabled"), [("monitor", True), ("block", False)])
def test_nothing_is_held_back_where_nothing_can_be_refused(here, mode, enabled):
    from cylestio_monitor.config import ScanSettings

    running = here(mode=mode, scan=ScanSettings(enabled=enabled))
    begun = running.pipeline.begin(chat(GO_ON))
    assert not begun.can_block
    begun.end()


def test_the_text_of_an_error_is_bounded(here):
    running = here(content="masked")
    running.pipeline.begin(chat(GO_ON)).end(error=RuntimeError("x" * 50_000))
    assert 1000 <= len(running.span().status.description.encode()) <= 1024
