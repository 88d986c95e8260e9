"""Hooks are lazy, reversible and harmless."""

from __future__ import annotations

import inspect
import subprocess
import sys
import traceback

import anthropic
import openai
import pytest
from anthropic import _base_client as anthropic_base
from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
from cylestio_monitor.capture.openai import OpenAIInstrumentor
from openai import _base_client as openai_base
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from capture.anthropic_calls import REQUEST
from cylestio_monitor import pipeline, runtime, semconv
from wire import Status

INSTRUMENTORS = [(AnthropicInstrumentor, anthropic_base), (OpenAIInstrumentor, openai_base)]


@pytest.fixture(params=INSTRUMENTORS, ids=["anthropic", "openai"])
def sdk(request):
    return request.param


def namespace(base):
    return {
        (owner.__name__, name): value
        for owner in (base.BaseClient, base.SyncAPIClient, base.AsyncAPIClient)
        for name, value in vars(owner).items()
    }


@pytest.mark.case("uninstrument restores the identical objects")
def test_uninstrument_restores_the_identical_objects(monitor, sdk):
    kind, base = sdk
    before = namespace(base)
    kind().instrument(skip_dep_check=True)
    changed = [key for key, value in namespace(base).items() if before[key] is not value]
    assert ("SyncAPIClient", "request") in changed
    assert ("AsyncAPIClient", "request") in changed
    kind().uninstrument()
    after = namespace(base)
    assert after.keys() == before.keys()
    assert all(after[key] is value for key, value in before.items())


@pytest.mark.case("instrumenting twice does not double")
def test_instrumenting_twice_does_not_double(monitor, wire):
    for _ in range(2):
        AnthropicInstrumentor().instrument(skip_dep_check=True)
    with anthropic.Anthropic(base_url=wire.url, api_key="k") as client:
        client.messages.create(**REQUEST)
    assert len(monitor.spans(1)) == 1
    AnthropicInstrumentor().uninstrument()


def test_what_is_wrapped_keeps_its_signature(monitor, sdk):
    kind, base = sdk
    before = [inspect.signature(owner.request) for owner in (base.SyncAPIClient, base.AsyncAPIClient)]
    kind().instrument(skip_dep_check=True)
    assert [inspect.signature(owner.request) for owner in (base.SyncAPIClient, base.AsyncAPIClient)] == before
    assert inspect.iscoroutinefunction(base.AsyncAPIClient.request)
    assert not inspect.iscoroutinefunction(base.SyncAPIClient.request)
    kind().uninstrument()


@pytest.mark.case("the application's exceptions keep type, message and the last frames")
def test_exceptions_are_what_they_were(monitor, wire):
    def failure(function):
        try:
            function()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must be the same twice
            frames = [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
            return (
                type(error),
                str(error),
                error.__cause__.__class__,
                [frame for frame in frames if "cylestio" not in frame[0]],
            )
        return None

    with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
        mistakes = [
            lambda: client.messages.create(model="m"),
            lambda: client.messages.create(**REQUEST, surprise=1),
            lambda: client.messages.create(**{**REQUEST, "messages": object()}),
            lambda: client.messages.create(**REQUEST, extra_headers={"x-wire-fault": "status=429"}),
            lambda: client.messages.create(**REQUEST, extra_headers={"x-wire-fault": "broken=0"}),
            lambda: list(client.messages.create(**REQUEST, stream=True, extra_headers={"x-wire-fault": "broken=3"})),
            client.request,
            lambda: client.request("no", "options"),
        ]
        before = [failure(mistake) for mistake in mistakes]
        AnthropicInstrumentor().instrument(skip_dep_check=True)
        after = [failure(mistake) for mistake in mistakes]
        AnthropicInstrumentor().uninstrument()
    assert None not in before
    for one, other in zip(before, after, strict=True):
        assert other[:3] == one[:3]
        assert other[3][-1] == one[3][-1]


def test_with_monitoring_off_the_sdk_works_alone(hooked, wire):
    runtime.turn_off()
    with openai.OpenAI(base_url=wire.openai_url, api_key="k", max_retries=0) as client:
        assert client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}]).id
        wire.fail(Status(500))
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert hooked.spans() == []


def test_an_instrumentor_alone_brings_a_pipeline(wire, monkeypatch):
    monkeypatch.setenv("CYLESTIO_SCAN_ENGINE", "python")
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    AnthropicInstrumentor().instrument(tracer_provider=provider)
    with anthropic.Anthropic(base_url=wire.url, api_key="k") as client:
        client.messages.create(**REQUEST)
    AnthropicInstrumentor().uninstrument()
    assert pipeline.current() is None
    scopes = [span.instrumentation_scope.name for span in exporter.get_finished_spans()]
    assert scopes == [semconv.SCOPE]
    provider.shutdown()


def test_an_sdk_of_another_build_is_left_alone(monitor, monkeypatch, caplog):
    monkeypatch.delattr(openai_base.AsyncAPIClient, "request")
    before = namespace(openai_base)
    OpenAIInstrumentor().instrument(skip_dep_check=True)
    assert OpenAIInstrumentor().state == "failed"
    assert namespace(openai_base) == before
    assert "not monitored" in caplog.text
    OpenAIInstrumentor().uninstrument()


def test_another_librarys_wrapper_on_top_is_left_in_place(monitor, wire):
    OpenAIInstrumentor().instrument(skip_dep_check=True)
    ours = openai_base.SyncAPIClient.request

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    openai_base.SyncAPIClient.request = theirs
    OpenAIInstrumentor().uninstrument()
    assert openai_base.SyncAPIClient.request is theirs
    openai_base.SyncAPIClient.request = ours.__wrapped__


SCRIPT = """
import sys
from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
from cylestio_monitor.capture.openai import OpenAIInstrumentor
instrumentors = AnthropicInstrumentor(), OpenAIInstrumentor()
for instrumentor in instrumentors:
    instrumentor.instrument(skip_dep_check=True)
assert not {"anthropic", "openai", "httpx", "httpx2", "pydantic"} & sys.modules.keys(), "an SDK was imported"
assert [instrumentor.state for instrumentor in instrumentors] == ["waiting", "waiting"]
import anthropic, openai
assert [instrumentor.state for instrumentor in instrumentors] == ["hooked", "hooked"]
assert hasattr(anthropic._base_client.SyncAPIClient.request, "__wrapped__")
for instrumentor in instrumentors:
    instrumentor.uninstrument()
assert not hasattr(anthropic._base_client.SyncAPIClient.request, "__wrapped__")
"""


LEFT_OPEN = """
import sys
from pathlib import Path
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name + chr(10))))
AnthropicInstrumentor().instrument(tracer_provider=provider)
import anthropic
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="k")
stream = client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hello"}], stream=True)
next(stream)
"""


@pytest.mark.case("a stream that is still open when the process ends has its span")
def test_a_stream_left_open_at_exit_has_its_span(wire):
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, wire.url], check=True, timeout=300, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["chat m"]
    assert done.stderr == ""


@pytest.mark.case("SDKs are hooked when the application imports them")
def test_sdks_are_hooked_when_they_are_imported():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=300)
