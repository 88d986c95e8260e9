"""An agent of LangChain below another instrumentation of LangChain: its spans are the only ones, and tagged."""

from pathlib import Path

import pytest

from cylestio_monitor import semconv
from cylestio_monitor.capture.external_spans import reader
from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "chain_calls.py"
PEERS = {"openinference": "OpenInference", "openllmetry": "OpenLLMetry", "openlit": "OpenLIT"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("peers")]


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(peer, marks=pytest.mark.case(f"Beside other instrumentations: {name}, an agent of LangChain"))
        for peer, name in PEERS.items()
    ],
)
def test_no_span_of_the_agent_its_tool_or_its_model_is_added(peer):
    done = run(environment("peers-openlit" if peer == "openlit" else "peers"), PROGRAM, peer)
    assert semconv.SCOPE not in {span["scope"] for span in done["spans"]}
    operations = [reader.operation(span["attributes"]) for span in done["spans"]]
    assert operations.count("chat") == done["requests"] == 2
    assert operations.count("execute_tool") == 1
    found = [
        (reader.operation(span["attributes"]), tuple(span["attributes"][semconv.RULES]))
        for span in done["spans"]
        if semconv.RULES in span["attributes"]
    ]
    # What the tool brought in counts there, and again where the model is given it.
    assert found == [("execute_tool", ("injection.ignore-instructions",)), ("chat", ("injection.ignore-instructions",))]
