"""Moderators: every answer is an event, a bad one a finding, and a refusal where the call waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time

import pytest

from cylestio_monitor import config, identify, on_moderation, runtime, tool
from cylestio_monitor.detect import Moderation, moderators
from cylestio_monitor.detect.onnx import OnnxModerator
from cylestio_monitor.detect.openai_moderation import OpenAIModerator
from cylestio_monitor.errors import BlockedError, ConfigError
from cylestio_monitor.model import Message, Part, Result
from cylestio_monitor.pipeline import current
from detect.moderation_server import ModerationServer
from road import answer, chat

WAITS = {"wait": True, "budget_ms": 20_000}


@pytest.fixture
def service(monkeypatch):
    server = ModerationServer()
    monkeypatch.setenv("MODERATION_KEY", "k-1")
    yield server
    server.close()


@pytest.fixture
def moderate(package):
    """Adds a moderator of the application, and takes it away again; `package` forgets the threads."""

    def add(function, name="application"):
        on_moderation(function, name=name)
        return function

    yield add
    moderators.callbacks.clear()


@pytest.fixture
def reports(road):
    """A pipeline whose answers of moderators are kept."""
    kept = []

    def make(mode="monitor", **moderation):
        here = road(mode=mode, moderation=config.ModerationSettings(**moderation))
        here.pipeline.reporter = kept.append
        here.pipeline.find_workers()
        here.kept = kept
        return here

    return make


def judge(text, *, target, subtype):
    if "attack" in text:
        return Moderation("deny", ("violence",), 0.9)
    return Moderation("warn", ("rude",)) if "idiot" in text else Moderation()


async def judge_later(text, *, target, subtype):
    await asyncio.sleep(0)
    return judge(text, target=target, subtype=subtype)


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("kind", [judge, judge_later], ids=["function", "coroutine"])
@pytest.mark.parametrize(
    ("text", "alert", "severity", "verdict"),
    [
        ("you idiot", "suspicious", "medium", "warn"),
        ("attack him", "dangerous", "high", "deny"),
        ("hello", "none", "none", "allow"),
    ],
)
def test_an_answer_is_an_event_and_a_bad_one_a_finding(reports, moderate, kind, text, alert, severity, verdict):
    moderate(kind, "house")
    here = reports(**WAITS)
    here.pipeline.begin(chat(text)).end(answer("ok"))
    span = here.span()
    assert span.attributes["cylestio.security.alert"] == alert
    assert span.attributes["cylestio.security.severity"] == severity
    question, reply = here.kept
    assert (question.moderator, question.moderation.verdict, question.question.target) == ("house", verdict, "input")
    assert (reply.moderation.verdict, reply.question.target, reply.finding) == ("allow", "output", None)
    assert {report.span.span_id for report in here.kept} == {span.context.span_id}
    if alert != "none":
        assert span.attributes["cylestio.security.rules"] == ("moderator.house",)
        assert span.attributes["cylestio.security.category"] == "moderation"
        assert span.events[0].attributes["cylestio.security.finding.path"] == "messages[0].content"
        assert span.events[0].attributes["cylestio.security.finding.reason"] in {"rude", "violence"}


def test_block_mode_refuses_a_denied_question_before_it_is_sent(reports, moderate):
    moderate(judge)
    here = reports("block", **WAITS)
    with pytest.raises(BlockedError, match=r"moderator\.application at messages\[0\]"):
        here.pipeline.begin(chat("attack him"))
    assert here.span().attributes["cylestio.security.action"] == "block"
    here.pipeline.begin(chat("you idiot")).end(answer("ok"), enforce=True)
    assert here.span().attributes["cylestio.security.action"] == "audit"


def test_block_mode_refuses_a_denied_answer_that_nobody_has_seen(reports, moderate):
    moderate(judge)
    here = reports("block", **WAITS)
    call = here.pipeline.begin(chat("hello"))
    with pytest.raises(BlockedError, match=r"blocked this answer.*moderator\.application"):
        call.end(answer("attack him"), enforce=True)
    assert here.span().attributes["cylestio.security.action"] == "block"


def test_a_streamed_answer_is_judged_after_it_and_not_said_to_be_refused(reports, moderate):
    moderate(judge)
    here = reports("block", **WAITS)
    call = here.pipeline.begin(chat("hello"))
    for piece in ("att", "ack him"):
        call.streamed("content[0]").add(piece)
    call.end(answer("attack him"), enforce=True)
    span = here.span()
    assert span.attributes["cylestio.security.action"] == "allow"
    until(lambda: any(point.value for point in here.points("cylestio.security.findings")))
    (point,) = [point for point in here.points("cylestio.security.findings") if point.value]
    assert (point.attributes["rule"], point.attributes["action"]) == ("moderator.application", "audit")
    report = here.kept[-1]
    assert (report.question.target, report.question.text, report.span.span_id) == (
        "output", "attack him", span.context.span_id,
    )  # fmt: skip


def test_a_call_that_does_not_wait_goes_on_and_the_answer_is_recorded_later(reports, moderate):
    gate = threading.Event()

    def slow(text, *, target, subtype):
        assert gate.wait(20)
        return judge(text, target=target, subtype=subtype)

    moderate(slow)
    here = reports("block")
    with identify(user_id="ada"):
        here.pipeline.begin(chat("attack him")).end(answer("ok"), enforce=True)
    assert here.span().attributes["cylestio.security.alert"] == "none"
    gate.set()
    until(lambda: [point for point in here.points("cylestio.security.findings") if point.value])
    assert here.kept[0].moderation.verdict == "deny"


@pytest.mark.parametrize("kind", ["slow", "raises", "none", "text", "verdict", "categories"])
@pytest.mark.parametrize("required", [False, True])
def test_an_answer_that_does_not_come_refuses_a_call_only_where_it_is_required(reports, moderate, kind, required):
    gate = threading.Event()

    def broken(text, *, target, subtype):
        if kind == "slow":
            gate.wait(20)
        answers = {"text": "deny", "verdict": Moderation("maybe"), "categories": Moderation("deny", "violence")}
        return 1 / 0 if kind == "raises" else answers.get(kind)

    moderate(broken)
    here = reports("block", wait=True, required=required, budget_ms=100 if kind == "slow" else 20_000)
    try:
        if required and kind != "none":
            with pytest.raises(BlockedError, match=r"scan\.incomplete at moderation"):
                here.pipeline.begin(chat("attack him"))
            assert here.span().attributes["cylestio.security.scanned"] is False
        else:
            here.pipeline.begin(chat("attack him")).end(answer("ok"), enforce=True)
            assert here.span().attributes["cylestio.security.alert"] == "none"
    finally:
        gate.set()
    assert [report for report in here.kept if report.finding] == []


def test_sides_and_surfaces_choose_the_texts(reports, moderate):
    seen = []

    def note(text, *, target, subtype):
        seen.append((text, target, subtype))

    moderate(note)
    here = reports(sides=("output",), surfaces=("llm", "tool_result"), **WAITS)
    here.pipeline.begin(chat("question", system="be kind")).end(answer("reply"))
    assert seen == [("reply", "output", "llm")]
    seen.clear()
    here = reports(sides=("input",), surfaces=("system", "tool_result"), **WAITS)
    call = chat("question", system="be kind")
    call.messages.append(Message("tool", [Part("tool_call_response", {"page": "text"}, path="messages[1]")]))
    here.pipeline.begin(call).end(answer("reply"))
    assert seen == [("be kind", "input", "system"), ("text", "input", "tool_result")]


def test_the_call_of_a_moderator_is_not_monitored(reports, moderate, monkeypatch):
    seen = []

    async def looks(text, *, target, subtype):
        seen.append(current())
        seen.append(await asyncio.to_thread(current))
        return Moderation()

    moderate(looks)
    here = reports(sides=("input",), **WAITS)
    monkeypatch.setattr(runtime, "pipeline", here.pipeline)
    assert current() is here.pipeline
    here.pipeline.begin(chat("hello")).end(answer("ok"))
    assert seen == [None, None]


def test_a_silenced_moderator_has_events_and_no_finding(road, moderate):
    moderate(judge)
    silence = config.RuleSettings(silence=(config.SilenceSettings(rule="moderator.*"),))
    here = road(rules=silence, moderation=config.ModerationSettings(**WAITS))
    kept = []
    here.pipeline.moderators.reporter = kept.append
    here.pipeline.begin(chat("attack him")).end(answer("ok"))
    assert here.span().attributes["cylestio.security.alert"] == "none"
    assert [(report.moderation.verdict, report.finding) for report in kept] == [("deny", None), ("allow", None)]


def test_names_of_a_moderator_are_bounded_and_cleaned(reports, moderate):
    many = tuple(f"c{number}\n" + "x" * 500 for number in range(100))
    moderate(lambda text, **_: Moderation("deny", many, float("nan"), -5, 10_000))
    here = reports(sides=("input",), **WAITS)
    here.pipeline.begin(chat("hello")).end(answer("ok"))
    (event,) = here.span().events
    assert (event.attributes["cylestio.security.finding.start"], event.attributes["cylestio.security.finding.end"]) == (
        0,
        5,
    )
    assert "\n" not in event.attributes["cylestio.security.finding.reason"]
    (report,) = here.kept
    assert len(report.moderation.categories) == 16
    assert report.moderation.score is None


def test_an_entry_point_and_a_function_are_both_asked(reports, moderate, package):
    package(
        "house",
        """
        from cylestio_monitor.detect import Moderation

        def make(settings):
            assert settings.use == ("house", "missing")
            return lambda text, *, target, subtype: Moderation("warn", ("house",)) if "x" in text else Moderation()
        """,
        group="cylestio_moderator",
    )
    moderate(judge)
    here = reports(use=("house", "missing"), sides=("input",), **WAITS)
    here.pipeline.begin(chat("attack x")).end(answer("ok"))
    assert here.span().attributes["cylestio.security.rules"] == ("moderator.application", "moderator.house")
    assert [report.moderator for report in here.kept] == ["house", "application"]


def test_the_hosted_format_is_asked_with_the_key_and_no_redirect_is_followed(service):
    settings = config.ModerationSettings(url=service.url, key="MODERATION_KEY")
    ask = OpenAIModerator(settings)
    assert ask("attack the idiot \ud800", target="input", subtype="llm") == Moderation(
        "deny", ("harassment", "violence"), 0.97
    )
    assert ask("hello", target="input", subtype="llm") == Moderation("allow", (), 0.01)
    path, authorization, body = service.requests[0]
    assert (path, authorization) == ("/v1/moderations", "Bearer k-1")
    assert body == {"model": "omni-moderation-latest", "input": "attack the idiot ?"}
    service.fault = 307
    with pytest.raises(ValueError, match="HTTP 307"):
        ask("attack", target="input", subtype="llm")
    assert len(service.requests) == 3


@pytest.mark.parametrize("fault", [401, 429, 500, "", "[]", '{"results": []}', '{"results": [{"flagged": "yes"}]}'])
def test_what_the_service_answers_wrongly_is_no_judgement(service, reports, fault):
    service.fault = fault
    here = reports(use=("openai",), url=service.url, key="MODERATION_KEY", sides=("input",), **WAITS)
    here.pipeline.begin(chat("attack him")).end(answer("ok"))
    assert here.span().attributes["cylestio.security.alert"] == "none"
    assert here.kept == []
    assert here.pipeline.moderators.failed == 1


def test_the_hosted_service_refuses_in_block_mode(service, reports):
    here = reports("block", use=("openai",), url=service.url + "/", key="MODERATION_KEY", **WAITS)
    with pytest.raises(BlockedError, match=r"moderator\.openai"):
        here.pipeline.begin(chat("attack him"))
    call = here.pipeline.begin(chat("hello"))
    with pytest.raises(BlockedError, match=r"moderator\.openai"):
        call.end(Result(messages=[Message("assistant", [Part("text", "you idiot", path="content[0]")])]), enforce=True)


@pytest.mark.parametrize(
    ("url", "key", "reason"),
    [
        ("http://moderation.example/v1", "k", "needs `https`"),
        ("ftp://127.0.0.1", "k", "needs `https`"),
        ("https://", "k", "needs `https`"),
        ("https://moderation.example", "", "holds no key"),
        ("https://moderation.example", "a\nb", "is no header"),
    ],
)
def test_an_address_or_a_key_that_cannot_be_used_is_a_clear_error(monkeypatch, url, key, reason):
    monkeypatch.setenv("MODERATION_KEY", key)
    with pytest.raises(ConfigError, match=reason):
        OpenAIModerator(config.ModerationSettings(url=url, key="MODERATION_KEY"))


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification"])
def test_a_model_of_the_users_folder_moderates(model, kind):
    labels = {"0": "neutral" if kind.startswith("multi") else "SAFE", "1": "toxic"}
    (model / "config.json").write_text(json.dumps({"id2label": labels, "problem_type": kind}))
    ask = OnnxModerator(config.ModerationSettings(model=str(model), threshold=0.98))
    assert ask("hello world", target="input", subtype="llm").verdict == "allow"
    found = ask("hello world " * 700 + "ignore", target="output", subtype="llm")
    assert found.verdict == "allow" or kind.startswith("single") or "toxic" in found.categories
    found = ask("ignore all", target="output", subtype="llm")
    assert (found.verdict, "toxic" in found.categories) == ("deny", True)
    with pytest.raises(ConfigError, match="needs a folder"):
        OnnxModerator(config.ModerationSettings())


def test_without_a_moderator_no_thread_is_started(road, caplog):
    with caplog.at_level(logging.WARNING):
        here = road()
    here.pipeline.begin(chat("hello")).end(answer("ok"))
    assert here.pipeline.moderators is None


@pytest.mark.parametrize("kind", ["function", "coroutine"])
@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_a_denied_result_of_a_function_is_withheld_in_block_mode(reports, moderate, monkeypatch, mode, kind):
    moderate(judge)
    here = reports(mode, surfaces=("tool_result",), **WAITS)
    monkeypatch.setattr(runtime, "pipeline", here.pipeline)

    @tool
    def function(name):
        return "attack him" if name == "bad" else "fine"

    @tool
    async def coroutine(name):
        return "attack him" if name == "bad" else "fine"

    def call(name):
        return function(name) if kind == "function" else asyncio.run(coroutine(name))

    assert call("good") == "fine"
    if mode == "monitor":
        assert call("bad") == "attack him"
    else:
        with pytest.raises(BlockedError, match=r"moderator\.application"):
            call("bad")
    assert here.exporter.get_finished_spans()[-1].attributes["cylestio.security.action"] == (
        "audit" if mode == "monitor" else "block"
    )
