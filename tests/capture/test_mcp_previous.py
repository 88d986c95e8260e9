"""The same with the previous major version of the MCP SDK, and with fastmcp, each in an environment of its own."""

import pytest

from mcp_peers import HERE, Spans
from peers.environment import environment, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp-environments")]

EVERYTHING = [
    "initialize",
    "tools/list",
    "tools/call add",
    "tools/call fail",
    "tools/call ask",
    "sampling/createMessage",
    "resources/list",
    "resources/read",
    "prompts/list",
    "prompts/get greet",
    "prompts/get nobody",
]


@pytest.fixture(scope="module")
def played():
    """Every case, in one process of that environment."""
    return run(environment("mcp-previous"), HERE / "previous.py")


@pytest.fixture
def case(played):
    def read(name):
        done = played[name]
        assert not done["failure"], done["failure"]
        spans = Spans()
        spans.ended = done["spans"]
        return spans, done["answer"]

    return read


@pytest.mark.case("MCP, 1.x: in memory")
def test_in_memory(case):
    spans, answer = case("in_memory")
    assert spans.pairs() == EVERYTHING
    assert answer == {"error": 0}
    assert spans.one("tools/call fail", "SERVER")["attributes"]["error.type"] == "tool_error"
    assert spans.one("prompts/get nobody", "CLIENT")["attributes"]["rpc.response.status_code"] == "0"
    asked = spans.one("sampling/createMessage", "CLIENT")
    assert asked["parent"] == spans.one("tools/call ask", "SERVER")["id"]
    assert spans.one("tools/call add", "SERVER")["attributes"]["mcp.protocol.version"] == "2025-11-25"


@pytest.mark.case("MCP, 1.x: over stdio, between processes")
def test_over_stdio(case):
    spans, _ = case("stdio")
    assert spans.pairs() == EVERYTHING
    assert {span["attributes"]["network.transport"] for span in spans.ended} == {"pipe"}


@pytest.mark.case("MCP, 1.x: over streamable HTTP")
def test_over_streamable_http(case):
    spans, answer = case("http")
    assert spans.pairs() == EVERYTHING
    call = spans.one("tools/call add", "CLIENT")["attributes"]
    assert (call["server.address"], call["server.port"]) == ("127.0.0.1", answer["port"])
    assert {span["attributes"]["network.transport"] for span in spans.ended} == {"tcp"}
    for kind in ("CLIENT", "SERVER"):
        assert spans.one("tools/call add", kind)["attributes"]["mcp.session.id"] == answer["session"]


@pytest.mark.case("MCP, 1.x: over SSE")
def test_over_sse(case):
    spans, _ = case("sse")
    assert spans.pairs() == EVERYTHING


QUESTIONS = {
    "elicitation/create": {"prompt_injection", "secret"},
    "roots/list": {"prompt_injection"},
    "sampling/createMessage": {"destructive_command"},
}
"""What a server may ask of its client, and what is found in it."""


def assert_asked(spans, method, categories):
    """The server's request has its two spans, within the call that it answers, and both sides are scanned."""
    call = spans.one("tools/call interview", "SERVER")
    asked, answered = (spans.one(method, kind) for kind in ("CLIENT", "SERVER"))
    assert (asked["parent"], answered["parent"]) == (call["id"], asked["id"])
    for span in (asked, answered):
        assert {event["cylestio.security.finding.category"] for event in span["findings"]} == categories


@pytest.mark.parametrize("played_as", ["asked", "asked_over_http"])
@pytest.mark.parametrize(
    ("method", "categories"),
    [
        pytest.param(*question, marks=pytest.mark.case(f"MCP, 1.x: {question[0]}, from the server to the client"))
        for question in QUESTIONS.items()
    ],
)
def test_each_request_of_the_server_has_its_two_spans_and_is_scanned(case, played_as, method, categories):
    spans, answer = case(played_as)
    assert answer == {"text": "20 1 16"}
    assert spans.pairs()[:5] == ["initialize", "tools/call interview", *QUESTIONS]
    assert_asked(spans, method, categories)


@pytest.mark.case("MCP, 1.x: a refused call is not sent")
def test_a_refused_call_is_not_sent(case):
    spans, answer = case("refused")
    assert answer == {"path": "arguments.command"}
    assert spans.named("tools/call run_shell", "SERVER") == []
    assert spans.one("tools/call run_shell", "CLIENT")["attributes"]["cylestio.security.action"] == "block"
    assert spans.one("tools/call add", "SERVER")["status"] == "UNSET"


@pytest.mark.case("MCP, 1.x: a server refuses a call and lives on")
def test_a_server_refuses_and_lives_on(case):
    spans, answer = case("refused_by_the_server")
    assert answer["is_error"] is True
    assert "Cylestio blocked this call of tool run_shell" in answer["text"]
    assert answer["code"] == -32050
    assert spans.one("tools/call run_shell", "SERVER")["attributes"]["cylestio.security.action"] == "block"
    assert spans.one("tools/call add", "SERVER")["status"] == "UNSET"


@pytest.mark.case("MCP, 1.x: a cancelled request")
def test_a_cancelled_request(case):
    spans, answer = case("cancelled")
    assert answer == {"caught": True, "detached": True}
    assert spans.pairs()[:3] == ["initialize", "tools/call slow", "tools/call add"]
    slow = spans.one("tools/call slow", "CLIENT")
    assert (slow["status"], slow["attributes"]["error.type"]) == ("ERROR", "CancelledError")


def test_a_request_that_the_client_takes_back(case):
    spans, answer = case("cancelled_by_notification")
    assert answer == {"ended": [True]}
    assert spans.one("tools/call slow", "SERVER")["attributes"]["error.type"] == "CancelledError"
    assert spans.one("tools/call slow", "CLIENT")["status"] == "ERROR"


@pytest.mark.case("MCP, 1.x: a request that times out, with progress")
def test_a_request_that_takes_too_long(case):
    spans, answer = case("timed_out")
    assert answer == {"code": 408, "heard": [[1.0, 2.0, "half"]] * 2}
    late, good = spans.named("tools/call slow", "CLIENT")
    assert late["attributes"]["error.type"] == "408"
    assert good["status"] == "UNSET"


def test_what_the_caller_gave_is_not_touched(case):
    spans, answer = case("untouched")
    assert answer == {"same": True}
    assert spans.pairs() == ["initialize", "tools/call add"]


@pytest.mark.case("MCP, 1.x: sessions opened before")
def test_sessions_that_were_open_before_are_covered(case):
    spans, _ = case("opened_before")
    assert spans.pairs() == ["tools/call add"]


@pytest.mark.case("MCP, 1.x: `uninstrument` restores the originals")
def test_the_original_objects_come_back(case):
    _, answer = case("restored")
    assert answer == {"once": True, "unwrapped": True, "identical": True}


@pytest.mark.case("MCP, 1.x: a tool definition that changes is named")
def test_a_definition_that_changes_is_named(case):
    spans, _ = case("changed_definition")
    listings = spans.named("tools/list", "CLIENT")
    changed = [span["attributes"].get("cylestio.mcp.tool.definition.changed") for span in listings]
    assert changed == [None, ["add"]]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            ("mcp-previous", "initialize"), id="3.x", marks=pytest.mark.case("fastmcp, 3.x: client and server")
        ),
        pytest.param(
            ("mcp-fastmcp", "server/discover"), id="4.x", marks=pytest.mark.case("fastmcp, 4.x: client and server")
        ),
    ],
)
def fast(request):
    """The spans of fastmcp's cases, and the request that a session begins with."""
    name, opening = request.param
    return run(environment(name), HERE / "fast.py"), opening


@pytest.mark.parametrize("transport", ["memory", "http"])
def test_fastmcp_and_its_mounted_servers(fast, transport):
    played, opening = fast
    spans = Spans()
    spans.ended = [span for span in played[transport] if span["kind"] != "INTERNAL"]
    assert spans.pairs() == [
        opening,
        "tools/list",
        "tools/call add",
        "tools/call fail",
        "tools/call unknown",
        "tools/call inner_echo",
        "resources/read",
        "prompts/get greet",
    ]
    for kind in ("CLIENT", "SERVER"):
        assert spans.one("tools/call fail", kind)["attributes"]["error.type"] == "tool_error"
    # Steps within a request that fastmcp traces itself, as many as its release has: each keeps its span and its place.
    ids = {span["id"] for span in played[transport]}
    steps = [span for span in played[transport] if span["kind"] == "INTERNAL"]
    assert {(span["scope"], span["parent"] in ids) for span in steps} <= {("fastmcp", True)}


@pytest.mark.parametrize("method", QUESTIONS)
def test_what_a_server_of_fastmcp_asks_its_client(fast, method):
    played, _ = fast
    spans = Spans()
    spans.ended = played["asked"]
    assert spans.pairs()[:5] == ["initialize", "tools/call interview", *QUESTIONS]
    assert_asked(spans, method, QUESTIONS[method] if method != "roots/list" else set())


def test_what_fastmcp_does_without_a_request_keeps_its_span(fast):
    played, _ = fast
    spans = [(span["scope"], span["kind"], span["name"]) for span in played["in_process"]]
    assert ("fastmcp", "SERVER", "tools/call add") in spans
    assert {scope for scope, _, _ in spans} == {"fastmcp"}
