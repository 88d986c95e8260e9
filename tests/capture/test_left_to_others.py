"""A call whose span another instrumentation of the same framework makes: refused in block mode, and never doubled."""

import sys
import types

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from cylestio_monitor import BlockedError, semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.model import Call, Message, Part, Result

OTHER = "other_instrumentation_of_a_framework"
DANGEROUS = "rm -rf / --no-preserve-root"


@pytest.fixture
def other(monkeypatch):
    """Another instrumentation that is switched on."""

    class OtherInstrumentor(BaseInstrumentor):
        def instrumentation_dependencies(self):
            return ()

        def _instrument(self, **_):
            pass

        def _uninstrument(self, **_):
            pass

    module = types.ModuleType(OTHER)
    module.OtherInstrumentor = OtherInstrumentor
    monkeypatch.setitem(sys.modules, OTHER, module)
    OtherInstrumentor().instrument(skip_dep_check=True)
    yield OtherInstrumentor()
    OtherInstrumentor().uninstrument()


def tool_call(command):
    def make():
        if call_wrappers.is_traced((OTHER,)):
            return None
        return Call("execute_tool", "execute_tool sh", "internal", tool_name="sh", arguments={"command": command})

    return make


def agent_turn():
    return None if call_wrappers.is_traced((OTHER,)) else Call("invoke_agent", "invoke_agent a", "internal")


@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_a_dangerous_call_of_a_tool_is_refused_only_in_block_mode(monitor, other, mode):
    monitor.configure(mode=mode)
    ran = []
    if mode == "block":
        with pytest.raises(BlockedError):
            call_wrappers.observe(tool_call(DANGEROUS), lambda: ran.append(1), None)
        assert not ran
        assert monitor.span().attributes[semconv.ACTION] == "block"
    else:
        call_wrappers.observe(tool_call(DANGEROUS), lambda: ran.append(1), None)
        assert ran
        assert not monitor.spans()


@pytest.mark.parametrize("make", [tool_call("ls"), agent_turn])
@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_a_call_that_is_allowed_gets_no_second_span(monitor, other, mode, make):
    monitor.configure(mode=mode)
    assert call_wrappers.observe(make, lambda: 42, None) == 42
    assert not monitor.spans()


def test_the_call_is_ours_again_when_the_other_instrumentation_is_off(monitor, other):
    other.uninstrument()
    call_wrappers.observe(tool_call("ls"), lambda: 42, None)
    assert monitor.span().name == "execute_tool sh"
    other.instrument(skip_dep_check=True)


def answer_of(items):
    parts = [Part("tool_call", item, name="sh", id="1", path=f"a[{n}]") for n, item in enumerate(items) if item]
    return Result(messages=[Message("assistant", parts)])


def model_call():
    return Call("chat", "chat m", messages=[Message("user", [Part("text", "hi", path="m")])])


@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_a_chunk_that_completes_a_refused_tool_call_is_not_handed_over(monitor, mode):
    monitor.configure(mode=mode)
    chunks, got, closed = [None, {"command": DANGEROUS}, None], [], []

    def items():
        try:
            yield from chunks
        finally:
            closed.append(1)

    observed = call_wrappers.steps(model_call, items(), answer_of)
    if mode == "block":
        with pytest.raises(BlockedError):
            got.extend(observed)
    else:
        got.extend(observed)
    assert closed == [1]
    span = monitor.span()
    assert span.attributes[semconv.ACTION] == ("block" if mode == "block" else "audit")
    assert span.attributes.get(semconv.ERROR_TYPE) == ("BlockedError" if mode == "block" else None)


@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_a_whole_answer_with_a_refused_tool_call_is_not_handed_over(monitor, mode):
    monitor.configure(mode=mode)
    work = lambda: [{"command": DANGEROUS}]  # noqa: E731 -- one answer
    if mode == "block":
        with pytest.raises(BlockedError):
            call_wrappers.observe(model_call, work, answer_of)
    else:
        assert call_wrappers.observe(model_call, work, answer_of) == [{"command": DANGEROUS}]
    assert monitor.span().attributes[semconv.ACTION] == ("block" if mode == "block" else "audit")
