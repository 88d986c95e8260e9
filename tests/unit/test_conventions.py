"""Attributes follow one table of names and types; the proposal for guardrails is an opt-in."""

import warnings

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.config import KeywordSettings, SemconvSettings
from cylestio_monitor.emit import conventions, guardrail
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Usage
from cylestio_monitor.pipeline import enclosing_agent
from road import answer, chat

KEYWORDS = KeywordSettings(dangerous=("zebra",), suspicious=("lion",), defaults=False)
NEWER = {
    # Of the repository of the GenAI conventions, and not yet in the published package.
    *("gen_ai.usage.cache_write.input_tokens", "gen_ai.request.reasoning.level", "gen_ai.response.status"),
    *("gen_ai.request.previous_response.id", "gen_ai.prompt.name"),
}
PREFIXES = ("gen_ai.", "mcp.", "openai.", "jsonrpc.", "rpc.", "http.", "server.", "network.", "enduser.", "error.")
TYPES = {"string": str, "string[]": tuple, "int": int, "double": float, "boolean": bool, "json": str}


def test_every_attribute_of_the_conventions_that_is_used_is_in_the_table():
    names = {value for name, value in vars(semconv).items() if isinstance(value, str) and not name.startswith("METRIC")}
    used = {name for name in names if name.startswith(PREFIXES)} - {semconv.TOKEN_TYPE}
    assert used == set(conventions.ATTRIBUTES)


def test_the_names_of_the_table_are_published():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

        published = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    ours = {name for name in conventions.ATTRIBUTES if name.startswith("gen_ai.")}
    assert ours - published <= NEWER


def test_a_span_has_the_required_attributes_with_the_types_of_the_table(road):
    here = road(content="masked")
    call = chat("hi", system="be kind")
    call.attributes = {
        semconv.REQUEST_TEMPERATURE: 1,
        semconv.REQUEST_MAX_TOKENS: 10,
        semconv.REQUEST_STREAM: True,
        semconv.REQUEST_STOP_SEQUENCES: ["x"],
        semconv.REQUEST_TOP_K: 4,
    }
    begun = here.pipeline.begin(call)
    begun.first_chunk()
    begun.end(answer("ok", response_id="r", model="m-1", finish_reasons=["stop"], usage=Usage(1, 2, 3, 4, 5)))
    span = here.span()
    known = {name: value for name, value in span.attributes.items() if name in conventions.ATTRIBUTES}
    assert len(known) > 15
    for name, value in known.items():
        assert type(value) is TYPES[conventions.ATTRIBUTES[name].kind], name
    for name, attribute in conventions.ATTRIBUTES.items():
        if "chat" in attribute.required:
            assert name in known
    assert span.instrumentation_scope.schema_url == semconv.SCHEMA_URL
    assert semconv.SCHEMA_URL.endswith(conventions.VERSION)


@pytest.mark.parametrize("operation", ["execute_tool", "invoke_agent", "embeddings"])
def test_the_time_to_the_first_chunk_is_only_that_of_a_streamed_answer(road, operation):
    here = road()
    begun = here.pipeline.begin(Call(operation, operation))
    begun.first_chunk()
    begun.end()
    assert semconv.RESPONSE_TIME_TO_FIRST_CHUNK not in here.span().attributes


def test_an_agent_has_the_provider_of_its_first_model_call(road):
    here = road()
    agent = here.pipeline.begin(Call("invoke_agent", "invoke_agent a", "internal"), is_scanned=False)
    token = enclosing_agent.set(agent)
    for provider in ("anthropic", "openai"):
        call = chat("hi")
        call.provider = provider
        here.pipeline.begin(call).end(answer("ok"))
    enclosing_agent.reset(token)
    agent.end()
    spans = here.exporter.get_finished_spans()
    assert spans[-1].attributes[semconv.PROVIDER_NAME] == "anthropic"


@pytest.mark.parametrize("setting", ["off", "experimental"])
@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_findings_in_the_words_of_the_proposal_are_an_opt_in(road, mode, setting):
    here = road(mode=mode, keywords=KEYWORDS, semconv=SemconvSettings(guardrail=setting))
    if mode == "block":
        with pytest.raises(BlockedError):
            here.pipeline.begin(chat("a zebra"))
    else:
        here.pipeline.begin(chat("a zebra")).end(answer("ok"))
    span = here.span()
    events = [event.attributes for event in span.events if event.name == guardrail.EVENT]
    if setting == "off":
        assert not events
        assert not [name for name in span.attributes if name.startswith("gen_ai.security.")]
        return
    (event,) = events
    for attributes in (event, span.attributes):
        assert attributes["gen_ai.security.verdict.type"] == "deny"
        assert attributes["gen_ai.security.action.type"] == ("block" if mode == "block" else "allow")
        assert attributes["gen_ai.security.policy.rule.id"] == "keyword.user.zebra"
        assert attributes["gen_ai.security.target.type"] == "input"
    assert "zebra" not in str(event["gen_ai.security.finding.evidence"])
