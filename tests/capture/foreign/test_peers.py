"""The other instrumentations, as they come, above the real SDKs: with our hooks below them and without."""

import functools
from pathlib import Path

import pytest

from cylestio_monitor import semconv
from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "sdk_calls.py"
PEERS = {
    "openinference": "OpenInference",
    "openllmetry": "OpenLLMetry",
    "openlit": "OpenLIT",
    "opentelemetry-genai": "opentelemetry-instrumentation-genai",
    "logfire": "Logfire",
}
APIS = {"anthropic": "Anthropic messages", "openai": "OpenAI chat completions", "responses": "OpenAI responses"}
EXPECTED = [("keyword.drop",), ("secret.aws-access-key-id",), (), ("keyword.delete-tool",)]
SECRET = "AKIA" + "Z7VQ3XW5L2MN4RTB"
CAPTURE = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("peers")]

everywhere = pytest.mark.parametrize(
    ("peer", "api"),
    [
        pytest.param(peer, api, marks=pytest.mark.case(f"Beside other instrumentations: {name}, {called}"))
        for peer, name in PEERS.items()
        for api, called in APIS.items()
    ],
)


@functools.cache
def play(peer, *hooked):
    """What one process did under the other instrumentation, with every API."""
    # OpenLIT takes any value of that variable but its own for a no.
    variables = {} if hooked or peer == "openlit" else {**CAPTURE}
    if not hooked:
        variables["ANTHROPIC_OPEN_TELEMETRY"] = "false"
    return run(environment("peers-openlit" if peer == "openlit" else "peers"), PROGRAM, peer, *hooked, **variables)


def calls(spans):
    """The spans of the four calls, in the order in which these were made."""
    own = [span for span in spans if span["attributes"].get("logfire.span_type") != "log"]
    return sorted(own, key=lambda span: span["start"])


def rules(span):
    return tuple(span["attributes"].get(semconv.RULES, ()))


@everywhere
def test_every_call_has_one_span_which_is_the_other_instrumentations_and_is_tagged(peer, api):
    played = play(peer, "hooked")
    done = played[f"{api}_calls"]
    spans = calls(done["spans"])
    assert done["requests"] == 4
    assert semconv.SCOPE not in {span["scope"] for span in spans}
    assert [rules(span) for span in spans] == EXPECTED
    assert all(span["attributes"][semconv.SCANNED] is True for span in spans)
    assert all(span["attributes"][semconv.OPERATION_NAME] == "chat" for span in spans)
    # A stream of the OpenAI SDK has no token counts unless they are asked for.
    assert all(span["attributes"].get(semconv.USAGE_OUTPUT_TOKENS) for span in (spans[0], spans[2], spans[3]))
    assert SECRET not in str(done["spans"])
    stored = {row["id"]: row for row in played["rows"] if row["type"] == "llm_call"}
    assert [tuple(stored[span["id"]]["rules"]) for span in spans] == EXPECTED


@everywhere
def test_what_the_other_instrumentation_recorded_is_scanned_where_none_of_our_hooks_is(peer, api):
    done = play(peer)[f"{api}_calls"]
    found = [rules(span) for span in sorted(done["spans"], key=lambda span: span["start"]) if rules(span)]
    expected = [one for one in EXPECTED if one]
    if (peer, api) in {("openllmetry", "anthropic"), ("openlit", "anthropic")}:
        expected.remove(EXPECTED[1])  # they never end the span of a stream that is read through a helper
    assert found == expected
    assert SECRET not in str(done["spans"])
