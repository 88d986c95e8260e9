"""The frameworks themselves: in each an agent that uses a tool, against the wire servers."""

from pathlib import Path

import pytest

from cylestio_monitor import semconv
from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "framework_calls.py"
FLOWS = PROGRAM.with_name("framework_flows.py")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("frameworks")]


@pytest.fixture(scope="module")
def python():
    return environment("frameworks")


def rules(span):
    """The rules that found something, without the learned one, which a framework's own prompt may look odd to."""
    return tuple(rule for rule in span["attributes"].get(semconv.RULES, ()) if not rule.startswith("learned."))


def operation(span):
    return span["attributes"].get(semconv.OPERATION_NAME)


def parents(spans):
    """Every span's name and that of its parent, in the order in which they ended."""
    names = {span["id"]: span["name"] for span in spans}
    return [(span["name"], names.get(span["parent"])) for span in spans]


def turn(agent, model):
    """One agent that asks a model, uses its tool and asks again; the tool's own work is inside the tool."""
    return [
        (f"chat {model}", agent),
        ("in tool", "execute_tool lookup"),
        ("execute_tool lookup", agent),
        (f"chat {model}", agent),
    ]


def assert_hooked(done):
    assert set(done["states"].values()) == {"hooked"}
    assert not done["leftover"], "no span stays the current one"
    assert "Failed to detach" not in done["stderr"]


def assert_found_where_it_was_said(spans):
    """The tool's result counts at the tool, and again where the model is given it; nowhere else."""
    found = [(operation(span), rules(span)) for span in spans if rules(span)]
    assert found == [("execute_tool", ("injection.ignore-instructions",)), ("chat", ("injection.ignore-instructions",))]


@pytest.mark.case("Frameworks: LangChain and LangGraph, agent, chain, tool, retriever, streams")
def test_langchain_and_langgraph(python):
    done = run(python, PROGRAM, "langchain")
    assert_hooked(done)
    spans, agent = done["spans"], "invoke_agent helper"
    one = [*turn(agent, "gpt-5"), (agent, None)]
    assert parents(spans)[:15] == [*one, *one, *one]
    for first in (0, 5, 10):
        assert_found_where_it_was_said(spans[first : first + 5])
    assert spans[4]["attributes"][semconv.CONVERSATION_ID] == "thread-1"
    assert parents(spans)[15:18] == [
        ("retrieval Shelf", None),
        ("chat", "invoke_workflow RunnableSequence"),
        ("invoke_workflow RunnableSequence", None),
    ]
    assert [rules(span) for span in spans[15:18]] == [("injection.ignore-instructions",), ("keyword.rm-rf",), ()]
    assert operation(spans[18]) == "chat", "a stream that was left early"
    assert done["requests"] == sum(span["name"] == "chat gpt-5" for span in spans)


def attribute(spans, name):
    return [span["attributes"].get(name) for span in spans]


@pytest.mark.case("Frameworks: LangGraph, pauses and hand-overs; LangChain, batches and sequences")
def test_langgraph_pauses_and_hand_overs_are_no_errors(python):
    done = run(python, FLOWS, "langchain_control")
    assert_hooked(done)
    spans, agent, chat = done["spans"], "invoke_agent helper", "chat gpt-5"
    assert parents(spans[:8]) == [
        (chat, agent),
        ("in tool", "execute_tool lookup"),
        ("execute_tool lookup", agent),
        (agent, None),
        *turn(agent, "gpt-5")[1:],
        (agent, None),
    ]
    assert {span["status"] for span in spans} == {"UNSET"}
    assert attribute(spans[:4], semconv.CONTROL_FLOW) == [None, None, "pause", "pause"]
    assert [span["events"] for span in spans[2:4]] == [[semconv.EVENT_CONTROL_FLOW]] * 2
    assert attribute(spans[4:8], semconv.CONTROL_FLOW) == [None] * 4
    ours = [span for span in spans[:8] if span["scope"] == semconv.SCOPE]
    assert {(s["attributes"][semconv.CONVERSATION_ID], s["attributes"][semconv.ENDUSER_ID]) for s in ours} == {
        ("thread-1", "user-1")
    }
    assert set(attribute(ours, semconv.CYLESTIO_SESSION_ID)) == {"thread-1"}
    assert parents(spans[8:13]) == [
        (chat, "invoke_agent first"),
        ("execute_tool transfer", "invoke_agent first"),
        ("invoke_agent first", "invoke_agent whole"),
        ("invoke_agent whole", None),
        (chat, None),
    ]
    assert attribute(spans[8:13], semconv.CONTROL_FLOW) == [None, "handover", "handover", None, None]
    batches = spans[13:]
    workflows = [span["id"] for span in batches if operation(span) == "invoke_workflow"]
    inside = [span["parent"] for span in batches if operation(span) == "chat"]
    assert sorted(inside) == sorted(workflows), "each input has a workflow with its own model call"
    assert len(workflows) == 6


@pytest.mark.case("Frameworks: OpenAI Agents SDK, agents, tools, handoff, streams")
def test_openai_agents_with_its_own_tracing_off(python):
    done = run(python, PROGRAM, "openai_agents")
    assert_hooked(done)
    agent, other, whole = "invoke_agent helper", "invoke_agent other", "invoke_workflow Agent workflow"
    assert parents(done["spans"]) == [
        *turn(agent, "gpt-5"),
        (agent, whole),
        ("chat gpt-5", other),
        (other, whole),
        (whole, None),
        *turn(agent, "gpt-5"),
        (agent, whole),
        (whole, None),
    ]
    assert_found_where_it_was_said(done["spans"][:4])


@pytest.mark.case("Frameworks: OpenAI Agents SDK, tools that raise")
def test_openai_agents_tools_keep_their_identity_and_their_exceptions(python):
    done = run(python, FLOWS, "openai_agents_tools")
    assert_hooked(done)
    tools = [span for span in done["spans"] if operation(span) == "execute_tool"]
    assert attribute(tools, semconv.ERROR_TYPE) == ["ValueError", "KeyError"]
    assert [span["status"] for span in tools] == ["ERROR", "ERROR"]
    runs = [span for span in done["spans"] if operation(span) == "invoke_workflow"]
    assert attribute(runs, semconv.ERROR_TYPE) == [None, "UserError"]


@pytest.mark.case("Frameworks: LiteLLM, over an SDK and without one")
def test_litellm_with_an_sdk_below_and_without(python):
    done = run(python, PROGRAM, "litellm")
    assert_hooked(done)
    spans = done["spans"]
    assert [span["name"] for span in spans] == ["chat gpt-5"] * 4 + ["chat claude-sonnet-4-5"] * 4
    assert len(spans) == done["requests"]
    assert all(rules(span) == ("keyword.rm-rf",) for span in spans)
    assert all(span["attributes"][semconv.FINDING_COUNT] == 1 for span in spans)
    assert [span["attributes"][semconv.PROVIDER_NAME] for span in spans] == ["openai"] * 4 + ["anthropic"] * 4


@pytest.mark.case("Frameworks: LiteLLM, with its own callback `otel`")
def test_litellms_own_callback_has_one_span_a_call_with_what_both_know(python):
    done = run(python, PROGRAM, "litellm_otel")
    assert_hooked(done)
    assert "ended span" not in done["stderr"], "the callback wrote on a span that was over"
    names = {span["id"]: span["name"] for span in done["spans"]}
    calls = sorted(
        (span for span in done["spans"] if span["attributes"].get(semconv.SCANNED)), key=lambda s: s["start"]
    )
    # Where the application has a span around the call, LiteLLM makes none, but for the last, of which it was told to.
    assert [(span["name"], names.get(span["parent"])) for span in calls] == [
        *[("litellm_request", None)] * 5,
        ("chat gpt-5", "request"),
        ("litellm_request", "request"),
    ]
    assert done["requests"] == len(calls)
    assert [span["status"] for span in calls] == ["OK"] * 4 + ["ERROR"] + ["OK"] * 2
    for span in (*calls[:4], *calls[5:]):
        assert rules(span) == ("keyword.rm-rf", "secret.aws-access-key-id")
        assert "llm.is_streaming" in span["attributes"], "what the callback records"
    assert calls[4]["attributes"][semconv.ERROR_TYPE] == "InternalServerError"
    assert "AKIA" + "Z7VQ3XW5L2MN4RTB" not in str(done["spans"]), "nor in the span of the raw request"


@pytest.mark.case("Frameworks: Pydantic AI, its own spans")
def test_pydantic_ai_is_switched_on_and_its_own_spans_are_tagged(python):
    done = run(python, PROGRAM, "pydantic_ai")
    assert_hooked(done)
    spans, agent = done["spans"], "invoke_agent helper"
    assert parents(spans) == [*turn(agent, "gpt-5"), (agent, None)]
    assert {span["scope"] for span in spans} == {"pydantic-ai", "app"}
    assert_found_where_it_was_said(spans)
    assert "page says" not in str(spans), "content was not asked for"


@pytest.mark.case("Frameworks: LlamaIndex, agent, tool, retriever")
def test_llamaindex(python):
    done = run(python, PROGRAM, "llamaindex")
    assert_hooked(done)
    spans, agent = done["spans"], "invoke_agent helper"
    assert parents(spans) == [*turn(agent, "gpt-4o"), (agent, None), ("retrieval Shelf", None)]
    assert_found_where_it_was_said(spans[:5])
    assert rules(spans[5]) == ("injection.ignore-instructions",)


@pytest.mark.case("Frameworks: LlamaIndex, workflow of agents")
def test_llamaindex_workflow_has_one_span_for_each_agent(python):
    done = run(python, FLOWS, "llamaindex_workflow")
    assert_hooked(done)
    first, second, whole = "invoke_agent first", "invoke_agent second", "invoke_workflow AgentWorkflow"
    assert parents(done["spans"]) == [
        ("chat gpt-4o", first),
        ("execute_tool handoff", first),
        (first, whole),
        *turn(second, "gpt-4o"),
        (second, whole),
        (whole, None),
    ]


@pytest.mark.case("Frameworks: CrewAI, crew, agent, tool")
def test_crewai(python):
    done = run(python, PROGRAM, "crewai")
    assert_hooked(done)
    spans, agent, crew = done["spans"], "invoke_agent helper", "invoke_workflow team"
    assert parents(spans) == [*turn(agent, "gpt-5"), (agent, crew), (crew, None)]
    assert_found_where_it_was_said(spans)


@pytest.mark.case("Frameworks: Bedrock with boto3, converse and invoke, streamed, closed, dropped")
def test_bedrock_whole_streamed_closed_and_dropped(python):
    done = run(python, PROGRAM, "bedrock")
    assert_hooked(done)
    spans = done["spans"]
    assert [span["name"] for span in spans] == ["chat m"] * 6
    assert rules(spans[0]) == ("keyword.delete-tool", "keyword.rm-rf")
    assert all("keyword.rm-rf" in rules(span) for span in spans[1:4])
    assert [span["attributes"][semconv.USAGE_INPUT_TOKENS] for span in spans[:4]] == [5, 5, 5, 5]
    assert [span["attributes"][semconv.RESPONSE_FINISH_REASONS] for span in spans[:4]] == [
        ["tool_use"],
        *[["end_turn"]] * 3,
    ]
    assert all(span["status"] == "UNSET" for span in spans), "leaving a stream early is no error"


@pytest.mark.case("Frameworks: Google GenAI, function calling, streamed, async")
def test_google_genai_with_automatic_function_calling(python):
    done = run(python, PROGRAM, "google_genai")
    assert_hooked(done)
    spans = [span for span in done["spans"] if span["scope"] == semconv.SCOPE]
    (tool,) = (span for span in spans if span["name"] == "execute_tool lookup")
    (run_,) = (span for span in spans if span["name"] == "invoke_agent")
    calls = [span for span in spans if span not in (run_, tool)]
    assert [span["name"] for span in calls] == ["generate_content gemini-x"] * 5
    assert {span["parent"] for span in (tool, *calls[:2])} == {run_["id"]}, "one run is one trace"
    assert rules(tool) == ("injection.ignore-instructions",)
    assert calls[0]["attributes"][semconv.TOOLS_REQUESTED] == ["lookup"]
    assert rules(calls[1]) == ("injection.ignore-instructions", "keyword.rm-rf")
    assert all(rules(span) == ("keyword.rm-rf",) for span in calls[2:])
    assert all(span["attributes"][semconv.USAGE_OUTPUT_TOKENS] == 4 for span in calls)
