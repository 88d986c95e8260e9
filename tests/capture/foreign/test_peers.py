"""The other instrumentations, as they come, above the real SDKs: with our hooks below them and without."""

from pathlib import Path

import pytest

from cylestio_monitor import semconv
from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "sdk_calls.py"
PEERS = ("openinference", "openllmetry", "opentelemetry-genai", "logfire")
EXPECTED = [("keyword.drop",), ("secret.aws-access-key-id",), (), ("keyword.delete-tool",)]
CAPTURE = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("peers")]


@pytest.fixture(scope="module")
def python():
    return environment("peers")


def calls(spans):
    """The spans of the four calls, in the order in which these were made."""
    own = [span for span in spans if span["attributes"].get("logfire.span_type") != "log"]
    return sorted(own, key=lambda span: span["start"])


def rules(span):
    return tuple(span["attributes"].get(semconv.RULES, ()))


@pytest.mark.parametrize("sdk", ["anthropic", "openai"])
@pytest.mark.parametrize("peer", PEERS)
def test_every_call_has_one_span_which_is_the_other_instrumentations_and_is_tagged(python, peer, sdk):
    done = run(python, PROGRAM, peer, sdk, "hooked")
    spans = calls(done["spans"])
    assert done["requests"] == 4
    assert semconv.SCOPE not in {span["scope"] for span in spans}
    assert [rules(span) for span in spans] == EXPECTED
    assert all(span["attributes"][semconv.SCANNED] is True for span in spans)
    assert all(span["attributes"][semconv.OPERATION_NAME] == "chat" for span in spans)
    # A stream of the OpenAI SDK has no token counts unless they are asked for.
    assert all(span["attributes"].get(semconv.USAGE_OUTPUT_TOKENS) for span in (spans[0], spans[2], spans[3]))


@pytest.mark.parametrize("sdk", ["anthropic", "openai"])
@pytest.mark.parametrize("peer", PEERS)
def test_what_the_other_instrumentation_recorded_is_scanned_where_none_of_our_hooks_is(python, peer, sdk):
    done = run(python, PROGRAM, peer, sdk, ANTHROPIC_OPEN_TELEMETRY="false", **CAPTURE)
    found = [rules(span) for span in sorted(done["spans"], key=lambda span: span["start"]) if rules(span)]
    expected = [one for one in EXPECTED if one]
    if (peer, sdk) == ("openllmetry", "anthropic"):
        expected.remove(EXPECTED[1])  # it never ends the span of a stream that is read through a helper
    assert found == expected
