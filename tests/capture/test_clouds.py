"""Clients of the clouds, and servers that speak OpenAI's format: the right provider, and one span."""

from __future__ import annotations

import base64
import json

import anthropic
import openai
import pytest

from capture.anthropic_calls import REQUEST
from capture.openai_calls import CHAT, RESPONSE
from cylestio_monitor import semconv
from cylestio_monitor.capture.http_client.provider_names import provider_of
from peers import cloud_servers
from wire import anthropic_format
from wire.blocks import Answer, Text, Usage


def bedrock(wire):
    return anthropic.AnthropicBedrock(
        base_url=wire.url, aws_access_key="none", aws_secret_key="none", aws_region="eu-north-1", max_retries=0
    )


def vertex(wire):
    return anthropic.AnthropicVertex(
        base_url=f"{wire.url}/v1", access_token="none", project_id="p", region="europe-west4", max_retries=0
    )


def azure(wire):
    return openai.AzureOpenAI(
        azure_endpoint=wire.url, api_key="k", api_version="2024-10-21", azure_deployment="prod", max_retries=0
    )


def openai_on_bedrock(wire):
    return openai.BedrockOpenAI(base_url=wire.openai_url, api_key="k", aws_region="eu-north-1", max_retries=0)


def mantle(wire):
    return anthropic.AnthropicBedrockMantle(
        base_url=wire.url, aws_access_key="none", aws_secret_key="none", aws_region="eu-north-1", max_retries=0
    )


def foundry(wire):
    return anthropic.AnthropicFoundry(base_url=wire.url, api_key="k", max_retries=0)


def aws(wire):
    return anthropic.AnthropicAWS(
        base_url=wire.url, api_key="k", workspace_id="w", aws_region="eu-north-1", max_retries=0
    )


def google_cloud(wire):
    return anthropic.AnthropicGoogleCloud(
        base_url=wire.url, skip_auth=True, project="p", location="l", workspace_id="w", max_retries=0
    )


def client_of(sdk, name, make, provider, calls):
    """Test parameters of a client, where the installed version has it."""
    return [
        pytest.param(make, call, provider, path, marks=pytest.mark.case(f"{name}: {title}"), id=f"{name}-{title}")
        for title, call, path in calls
        if hasattr(sdk, name)
    ]


MESSAGES = [
    ("messages.create", lambda c: c.messages.create(**REQUEST), "/v1/messages"),
    ("messages.create(stream=True)", lambda c: list(c.messages.create(**REQUEST, stream=True)), "/v1/messages"),
]
CLOUDS = [
    *client_of(
        openai,
        "BedrockOpenAI",
        openai_on_bedrock,
        "aws.bedrock",
        [
            ("chat.completions.create", lambda c: c.chat.completions.create(**CHAT), "/v1/chat/completions"),
            (
                "chat.completions.create(stream=True)",
                lambda c: list(c.chat.completions.create(**CHAT, stream=True)),
                "/v1/chat/completions",
            ),
            ("responses.create", lambda c: c.responses.create(**RESPONSE), "/v1/responses"),
        ],
    ),
    *client_of(anthropic, "AnthropicBedrockMantle", mantle, "aws.bedrock", MESSAGES),
    # Anthropic's own service, which Azure, AWS and Google Cloud only lead to: its SDK calls the provider so.
    *client_of(anthropic, "AnthropicFoundry", foundry, "anthropic", MESSAGES),
    *client_of(anthropic, "AnthropicAWS", aws, "anthropic", MESSAGES),
    *client_of(anthropic, "AnthropicGoogleCloud", google_cloud, "anthropic", MESSAGES),
    pytest.param(
        bedrock,
        lambda c: c.messages.create(**REQUEST),
        "aws.bedrock",
        "/model/claude-wire/invoke",
        marks=pytest.mark.case("AnthropicBedrock: messages.create"),
        id="bedrock",
    ),
    pytest.param(
        vertex,
        lambda c: c.messages.create(**REQUEST),
        "gcp.vertex_ai",
        "/v1/projects/p/locations/europe-west4/publishers/anthropic/models/claude-wire:rawPredict",
        marks=pytest.mark.case("AnthropicVertex: messages.create"),
        id="vertex",
    ),
    pytest.param(
        vertex,
        lambda c: list(c.messages.create(**REQUEST, stream=True)),
        "gcp.vertex_ai",
        "/v1/projects/p/locations/europe-west4/publishers/anthropic/models/claude-wire:streamRawPredict",
        marks=pytest.mark.case("AnthropicVertex: messages.create(stream=True)"),
        id="vertex-stream",
    ),
    pytest.param(
        azure,
        lambda c: c.chat.completions.create(**CHAT),
        "azure.ai.openai",
        "/openai/deployments/prod/chat/completions",
        marks=pytest.mark.case("AzureOpenAI: chat.completions.create"),
        id="azure",
    ),
    pytest.param(
        azure,
        lambda c: list(c.chat.completions.create(**CHAT, stream=True)),
        "azure.ai.openai",
        "/openai/deployments/prod/chat/completions",
        marks=pytest.mark.case("AzureOpenAI: chat.completions.create(stream=True)"),
        id="azure-stream",
    ),
]


@pytest.mark.parametrize(("client", "call", "provider", "path"), CLOUDS)
def test_a_client_of_a_cloud(hooked, wire, client, call, provider, path):
    wire.always("It is sunny.")
    with client(wire) as made:
        call(made)
    assert [request.path for request in wire.requests] == [path]
    span = hooked.span()
    assert span.attributes[semconv.OPERATION_NAME] == "chat"
    assert span.attributes[semconv.PROVIDER_NAME] == provider
    assert span.attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert span.attributes[semconv.REQUEST_MODEL] in {"claude-wire", "gpt-wire"}
    (message,) = json.loads(span.attributes[semconv.OUTPUT_MESSAGES])
    assert message["parts"] == [{"type": "text", "content": "It is sunny."}]


@pytest.mark.case("AnthropicBedrock: messages.create(stream=True)")
@pytest.mark.parametrize("whole", [True, False], ids=["read", "left early"])
def test_a_stream_of_bedrock(hooked, whole):
    """Bedrock frames the events in an encoding of its own, which the SDK decodes."""
    answer = Answer((Text("It is sunny."),), Usage(input=12, output=34))
    events = [json.dumps(data).encode() for _, data in anthropic_format.events(answer, REQUEST)]
    body = b"".join(cloud_servers.event("chunk", {"bytes": base64.b64encode(event).decode()}) for event in events)
    with cloud_servers.serve(lambda *_: (cloud_servers.STREAM, body, {})) as url:
        settings = {"aws_access_key": "none", "aws_secret_key": "none", "aws_region": "eu-north-1"}
        with anthropic.AnthropicBedrock(base_url=url, max_retries=0, **settings) as client:
            stream = client.messages.create(**REQUEST, stream=True)
            if whole:
                list(stream)
            else:
                next(stream)
                stream.close()
    span = hooked.span()
    assert span.attributes[semconv.PROVIDER_NAME] == "aws.bedrock"
    assert span.attributes[semconv.REQUEST_STREAM]
    assert semconv.ERROR_TYPE not in span.attributes
    if whole:
        (message,) = json.loads(span.attributes[semconv.OUTPUT_MESSAGES])
        assert message["parts"] == [{"type": "text", "content": "It is sunny."}]
        assert span.attributes[semconv.USAGE_OUTPUT_TOKENS] == 34


@pytest.mark.case("OpenAI-compatible servers are recognised by their base URL")
@pytest.mark.parametrize(
    ("host", "port", "provider"),
    [
        ("api.openai.com", None, "openai"),
        ("my-resource.openai.azure.com", None, "azure.ai.openai"),
        ("bedrock-runtime.us-east-1.amazonaws.com", None, "aws.bedrock"),
        ("us-central1-aiplatform.googleapis.com", None, "gcp.vertex_ai"),
        ("generativelanguage.googleapis.com", None, "gcp.gemini"),
        ("api.groq.com", None, "groq"),
        ("api.deepseek.com", None, "deepseek"),
        ("api.x.ai", None, "x_ai"),
        ("api.mistral.ai", None, "mistral_ai"),
        ("api.perplexity.ai", None, "perplexity"),
        ("localhost", 11434, "ollama"),
        ("vllm.internal", 8000, "vllm"),
        ("litellm", 4000, "litellm"),
        ("localhost", 8000, None),
        ("notopenai.com", None, None),
        ("api.openai.com.example.org", None, None),
    ],
)
def test_a_provider_by_its_host(host, port, provider):
    assert provider_of(host, port) == provider
