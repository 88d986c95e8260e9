"""Every form of a request that a model reads, by provider: in block mode no dangerous one leaves the process."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path

import anthropic
import openai
import pytest
import urllib3

from capture import test_plain_http, test_request_fields
from capture.anthropic_calls import REQUEST
from capture.openai_calls import CHAT, RESPONSE
from capture.test_request_fields import BAD, ENCODED, block
from cylestio_monitor.errors import BlockedError
from peers import cloud_servers

HAS_BOTO3 = importlib.util.find_spec("boto3") is not None
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "what-is-not-detected.md"


def said(*content, role="assistant"):
    return {"messages": [{"role": role, "content": list(content)}]}


ANTHROPIC = {
    **{name: ("/v1/messages", {**REQUEST, **extra}) for name, extra in test_request_fields.ANTHROPIC.items()},
    **{
        name: (path, {**REQUEST, **extra})
        for name, (path, extra) in {
            "beta": ("/v1/messages?beta=true", block(type="text", text=BAD)),
            "count of tokens": ("/v1/messages/count_tokens", block(type="text", text=BAD)),
            "arguments of a tool in the history": (
                "/v1/messages",
                said({"type": "tool_use", "id": "t", "name": "n", "input": {"note": BAD}}),
            ),
            "key of an argument in the history": (
                "/v1/messages",
                said({"type": "tool_use", "id": "t", "name": "n", "input": {BAD: 1}}),
            ),
            "thinking in the history": ("/v1/messages", said({"type": "thinking", "thinking": BAD, "signature": "s"})),
            "result of a web search": (
                "/v1/messages",
                said(
                    {
                        "type": "web_search_tool_result",
                        "tool_use_id": "t",
                        "content": [{"type": "web_search_result", "title": BAD, "url": "https://example.com"}],
                    }
                ),
            ),
            "result of code": (
                "/v1/messages",
                said(
                    {
                        "type": "code_execution_tool_result",
                        "tool_use_id": "t",
                        "content": {"type": "code_execution_result", "stdout": BAD, "stderr": "", "return_code": 0},
                    }
                ),
            ),
            "result of an MCP tool": (
                "/v1/messages",
                said({"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": BAD}]}),
            ),
            "error of a tool": (
                "/v1/messages",
                block(type="tool_result", tool_use_id="t", content=BAD, is_error=True),
            ),
            "description of a parameter": (
                "/v1/messages",
                {
                    "tools": [
                        {"name": "t", "input_schema": {"properties": {"a": {"type": "string", "description": BAD}}}}
                    ]
                },
            ),
            "name of a tool": ("/v1/messages", {"tools": [{"name": BAD, "input_schema": {"type": "object"}}]}),
            "the last of many messages": (
                "/v1/messages",
                {"messages": [*[{"role": "user", "content": "Hello."}] * 200, {"role": "user", "content": BAD}]},
            ),
        }.items()
    },
    "batch": (
        "/v1/messages/batches",
        {"requests": [{"custom_id": "a", "params": {**REQUEST, **block(type="text", text=BAD)}}]},
    ),
    "batch of many": (
        "/v1/messages/batches",
        {
            "requests": [
                {"custom_id": "a", "params": REQUEST},
                {"custom_id": "b", "params": {**REQUEST, "system": BAD}},
            ]
        },
    ),
}


def item(**fields):
    return "/responses", {**RESPONSE, "input": [fields]}


OPENAI = {
    **{f"chat: {name}": ("/chat/completions", {**CHAT, **more}) for name, more in test_request_fields.OPENAI.items()},
    **{
        f"responses: {name}": ("/responses", {**RESPONSE, **more})
        for name, more in test_request_fields.RESPONSES.items()
    },
    **{
        f"completions: {name}": ("/completions", {"model": "m", **more})
        for name, more in test_request_fields.COMPLETIONS.items()
    },
    **test_request_fields.OTHERS,
    "chat: system message": ("/chat/completions", {**CHAT, "messages": [{"role": "system", "content": BAD}]}),
    "chat: developer message": ("/chat/completions", {**CHAT, "messages": [{"role": "developer", "content": BAD}]}),
    "chat: function message": (
        "/chat/completions",
        {**CHAT, "messages": [{"role": "function", "name": "f", "content": BAD}]},
    ),
    "chat: refusal": (
        "/chat/completions",
        {**CHAT, "messages": [{"role": "assistant", "content": [{"type": "refusal", "refusal": BAD}]}]},
    ),
    "chat: arguments in the history": (
        "/chat/completions",
        {
            **CHAT,
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "t",
                            "type": "function",
                            "function": {"name": "n", "arguments": json.dumps({"note": BAD})},
                        }
                    ],
                }
            ],
        },
    ),
    "chat: description of a parameter": (
        "/chat/completions",
        {
            **CHAT,
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "t", "parameters": {"properties": {"a": {"enum": ["x", BAD]}}}},
                }
            ],
        },
    ),
    "chat: transcript of an audio": (
        "/chat/completions",
        {**CHAT, "messages": [{"role": "assistant", "audio": {"id": "a", "transcript": BAD}}]},
    ),
    "responses: reasoning summary": item(type="reasoning", id="r", summary=[{"type": "summary_text", "text": BAD}]),
    "responses: output of a shell": item(type="local_shell_call_output", id="s", output=json.dumps({"stdout": BAD})),
    "responses: output of a custom tool": item(type="custom_tool_call_output", call_id="c", output=BAD),
    "responses: output of an MCP call": item(type="mcp_call", id="m", server_label="s", name="n", output=BAD),
    "responses: error of an MCP call": item(type="mcp_call", id="m", server_label="s", name="n", error=BAD),
    "responses: file": item(
        role="user",
        content=[
            {"type": "input_file", "filename": "a.txt", "file_data": f"data:text/plain;base64,{ENCODED}"},
        ],
    ),
    "responses: function description": (
        "/responses",
        {**RESPONSE, "tools": [{"type": "function", "name": "t", "description": BAD, "parameters": {}}]},
    ),
    "responses: custom tool grammar": (
        "/responses",
        {
            **RESPONSE,
            "tools": [
                {"type": "custom", "name": "t", "format": {"type": "grammar", "syntax": "lark", "definition": BAD}}
            ],
        },
    ),
    "responses: compaction": ("/responses/compact", {**RESPONSE, "input": BAD}),
}
BEDROCK = {
    "system": {"system": [{"text": BAD}]},
    "tool description": {
        "toolConfig": {"tools": [{"toolSpec": {"name": "t", "description": BAD, "inputSchema": {"json": {}}}}]}
    },
    "tool schema": {
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"properties": {"a": {"description": BAD}}}}}}]
        }
    },
    "fields of the model": {"additionalModelRequestFields": {"note": BAD}},
    "prompt variables": {"promptVariables": {"name": {"text": BAD}}},
    "arguments in the history": {
        "messages": [
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "n", "input": {"note": BAD}}}]}
        ]
    },
    "reasoning in the history": {
        "messages": [{"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": BAD}}}]}]
    },
}
if HAS_BOTO3:
    from capture import test_bedrock as converse
    from capture.test_bedrock import bedrock  # noqa: F401 -- a fixture

    BEDROCK |= {name: {"messages": [{"role": "user", "content": [one]}]} for name, one in converse.BLOCKS.items()}


def gemini(**fields):
    return "/v1beta/models/m:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hello."}]}], **fields}


def gemini_part(**part):
    return gemini(contents=[{"role": "user", "parts": [part]}])


PLAIN = {
    **{name: (path, body) for name, (path, body, _) in test_plain_http.FORMATS.items()},
    "Gemini system": gemini(systemInstruction={"parts": [{"text": BAD}]}),
    "Gemini stream": ("/v1beta/models/m:streamGenerateContent", {"contents": [{"parts": [{"text": BAD}]}]}),
    "Gemini tool description": gemini(tools=[{"functionDeclarations": [{"name": "t", "description": BAD}]}]),
    "Gemini response schema": gemini(generationConfig={"responseSchema": {"type": "OBJECT", "description": BAD}}),
    "Gemini result of a function": gemini_part(functionResponse={"name": "f", "response": {"a": BAD}}),
    "Gemini call of a function": gemini_part(functionCall={"name": "f", "args": {"a": BAD}}),
    "Gemini code": gemini_part(executableCode={"language": "PYTHON", "code": f"# {BAD}"}),
    "Gemini output of code": gemini_part(codeExecutionResult={"outcome": "OUTCOME_OK", "output": BAD}),
    "Gemini text in base64": gemini_part(inlineData={"mimeType": "text/plain", "data": ENCODED}),
    "Ollama system": ("/api/generate", {"model": "m", "stream": False, "prompt": "x", "system": BAD}),
    "Ollama template": ("/api/generate", {"model": "m", "stream": False, "prompt": "x", "template": BAD}),
    "Ollama tool": (
        "/api/chat",
        {"model": "m", "messages": [], "tools": [{"type": "function", "function": {"name": "t", "description": BAD}}]},
    ),
    "Cohere preamble": ("/v1/chat", {"model": "m", "message": "x", "preamble": BAD}),
    "Cohere history": ("/v1/chat", {"model": "m", "message": "x", "chat_history": [{"role": "USER", "message": BAD}]}),
    "Cohere rerank": ("/v2/rerank", {"model": "m", "query": "x", "documents": [BAD]}),
}


@pytest.mark.parametrize("form", ANTHROPIC)
def test_anthropic(hooked, wire, form):
    hooked.configure(mode="block")
    path, body = ANTHROPIC[form]
    with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client, pytest.raises(BlockedError):
        client.post(path, cast_to=object, body=body)
    assert wire.requests == []


@pytest.mark.parametrize("form", OPENAI)
def test_openai(hooked, wire, form):
    hooked.configure(mode="block")
    path, body = OPENAI[form]
    with openai.OpenAI(base_url=wire.openai_url, api_key="k", max_retries=0) as client, pytest.raises(BlockedError):
        client.post(path, cast_to=object, body=body)
    assert wire.requests == []


@pytest.mark.skipif(not HAS_BOTO3, reason="needs boto3")
@pytest.mark.parametrize("form", BEDROCK)
def test_bedrock(request, form):
    request.getfixturevalue("bedrock").configure(mode="block")
    seen = []

    def answer(path, body):
        seen.append(path)
        return converse.dangerous(path, body)

    with cloud_servers.serve(answer) as url, pytest.raises(BlockedError):
        converse.client(url).converse(**{"modelId": "m", "messages": converse.HELLO, **BEDROCK[form]})
    assert seen == []


@pytest.fixture
def plain(monitor):
    instrumentor = test_plain_http.PlainHTTPInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    yield monitor
    instrumentor.uninstrument()


@pytest.mark.parametrize("form", PLAIN)
def test_plain_http_client(plain, form):
    plain.configure(mode="block")
    path, body = PLAIN[form]
    seen = []

    def answer(*call):
        seen.append(call)
        return "application/json", b"{}", {}

    with cloud_servers.serve(answer) as url, pytest.raises(BlockedError):
        urllib3.PoolManager().request("POST", url + path, json=body)
    assert seen == []


EXCEPTIONS = {
    "stop sequences": ("anthropic", "/v1/messages", {**REQUEST, "stop_sequences": [BAD]}),
    "moderation requests": ("openai", "/moderations", {"model": "m", "input": BAD}),
    "the Assistants API": ("openai", "/threads/t/messages", {"role": "user", "content": BAD}),
    "a count of tokens of Gemini": (
        "plain",
        "/v1beta/models/m:countTokens",
        {"contents": [{"parts": [{"text": BAD}]}]},
    ),
    "files that are uploaded": ("openai", "/files", {"purpose": "batch", "file": BAD}),
}
"""What block mode lets through: the page of what is not detected names each with these words."""


@pytest.mark.parametrize("form", EXCEPTIONS)
def test_what_is_not_refused_is_documented(hooked, plain, wire, form):
    hooked.configure(mode="block")
    sdk, path, body = EXCEPTIONS[form]
    assert form in PAGE.read_text("utf-8")
    if sdk == "plain":
        urllib3.PoolManager().request("POST", wire.url + path, json=body)
    else:
        made = {
            "anthropic": lambda: anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0),
            "openai": lambda: openai.OpenAI(base_url=wire.openai_url, api_key="k", max_retries=0),
        }[sdk]
        errors = (anthropic.APIError, openai.APIError)  # the server does not know every path
        with made() as client, contextlib.suppress(*errors):
            client.post(path, cast_to=object, body=body)
    assert len(wire.requests) == 1


def test_the_forms_are_as_many_as_documented():
    """A form that is taken out here is no longer promised."""
    assert len(ANTHROPIC) + len(OPENAI) + len(BEDROCK) + len(PLAIN) >= (150 if HAS_BOTO3 else 140)
