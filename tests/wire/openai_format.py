"""The OpenAI wire format: chat completions, responses, completions, embeddings, and the chunks of a stream."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from wire.blocks import Answer, Text, Thinking, ToolCall, pieces

CHAT_ID = "chatcmpl-wire-1"
RESPONSE_ID = "resp_wire_1"
CREATED = 1_760_000_000


def usage(answer: Answer) -> dict[str, Any]:
    counts = answer.usage
    prompt = counts.input + counts.cache_read + counts.cache_write
    return {
        "prompt_tokens": prompt,
        "completion_tokens": counts.output,
        "total_tokens": prompt + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.cache_read},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
    }


def finish_reason(answer: Answer) -> str:
    return answer.stop or ("tool_calls" if answer.wants_tool else "stop")


def text_of(answer: Answer) -> str:
    return "".join(block.text for block in answer.blocks if isinstance(block, Text))


def chat(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": json.dumps(block.arguments)},
        }
        for block in answer.blocks
        if isinstance(block, ToolCall)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text_of(answer) or None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    choices = [
        {"index": index, "message": message, "finish_reason": finish_reason(answer), "logprobs": None}
        for index in range(request.get("n") or 1)
    ]
    return {
        "id": CHAT_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": request.get("model"),
        "choices": choices,
        "usage": usage(answer),
        "service_tier": "default",
        "system_fingerprint": "fp_wire",
    }


def chat_events(answer: Answer, request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    tool = 0
    for block in answer.blocks:
        if isinstance(block, Text):
            deltas += [{"content": piece} for piece in pieces(block.text, block.piece)]
        elif isinstance(block, ToolCall):
            first = {"index": tool, "id": block.id, "type": "function"}
            deltas.append({"tool_calls": [{**first, "function": {"name": block.name, "arguments": ""}}]})
            deltas += [
                {"tool_calls": [{"index": tool, "function": {"arguments": piece}}]}
                for piece in pieces(json.dumps(block.arguments), 7)
            ]
            tool += 1
    base = {
        "id": CHAT_ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": request.get("model"),
        "service_tier": "default",
        "system_fingerprint": "fp_wire",
    }
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason(answer)}]})
    if (request.get("stream_options") or {}).get("include_usage"):
        chunks.append({**base, "choices": [], "usage": usage(answer)})
    return [("", chunk) for chunk in chunks]


def completion(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "cmpl-wire-1",
        "object": "text_completion",
        "created": CREATED,
        "model": request.get("model"),
        "choices": [{"index": 0, "text": text_of(answer), "finish_reason": "stop", "logprobs": None}],
        "usage": usage(answer),
    }


def completion_events(answer: Answer, request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    base = {"id": "cmpl-wire-1", "object": "text_completion", "created": CREATED, "model": request.get("model")}
    texts = pieces(text_of(answer), 6)
    return [
        ("", {**base, "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": None}]})
        for text, finish in [*[(text, None) for text in texts], ("", "stop")]
    ]


def embeddings(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    given = request.get("input")
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    vector: Any = [0.25, -0.5, 0.75]
    if request.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", *vector)).decode()
    return {
        "object": "list",
        "model": request.get("model"),
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)],
        "usage": {"prompt_tokens": answer.usage.input, "total_tokens": answer.usage.input},
    }


def decision(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    """A probability of a half for every question."""
    answers = [
        {"type": "predicate", "name": question.get("name"), "probability": 0.5} for question in request["questions"]
    ]
    return {"model": request.get("model"), "answers": answers, "usage": response(answer, request)["usage"]}


def output(answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for number, block in enumerate(answer.blocks):
        if isinstance(block, Thinking):
            summary = [{"type": "summary_text", "text": block.text}]
            items.append({"id": f"rs_{number}", "type": "reasoning", "summary": summary, "status": "completed"})
        elif isinstance(block, Text):
            part = {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}
            items.append(
                {
                    "id": f"msg_{number}",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [part],
                }
            )
        else:
            items.append(
                {
                    "id": f"fc_{number}",
                    "type": "function_call",
                    "call_id": block.id,
                    "name": block.name,
                    "arguments": json.dumps(block.arguments),
                    "status": "completed",
                }
            )
    return items


def response(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    counts = answer.usage
    total_in = counts.input + counts.cache_read + counts.cache_write
    conversation = request.get("conversation")
    return {
        "id": answer.id or RESPONSE_ID,
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "model": request.get("model"),
        "output": output(answer),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "conversation": {"id": conversation} if isinstance(conversation, str) else conversation,
        "previous_response_id": request.get("previous_response_id"),
        "service_tier": "default",
        "text": request.get("text") or {"format": {"type": "text"}},
        "usage": {
            "input_tokens": total_in,
            "input_tokens_details": {"cached_tokens": counts.cache_read},
            "output_tokens": counts.output,
            "output_tokens_details": {"reasoning_tokens": counts.reasoning},
            "total_tokens": total_in + counts.output,
        },
    }


def response_events(answer: Answer, request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    whole = response(answer, request)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    stream: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
    ]
    for index, item in enumerate(whole["output"]):
        stream += _item_events(index, item)
    stream.append(("response.completed", {"response": whole}))
    return [(name, {"type": name, "sequence_number": number, **data}) for number, (name, data) in enumerate(stream)]


def _item_events(index: int, item: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    place: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
    if item["type"] == "message":
        part = item["content"][0]
        place["content_index"] = 0
        begun = {**item, "content": [], "status": "in_progress"}
        inner: list[tuple[str, dict[str, Any]]] = [
            ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
            *[
                ("response.output_text.delta", {**place, "delta": piece, "logprobs": []})
                for piece in pieces(part["text"], 6)
            ],
            ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
            ("response.content_part.done", {**place, "part": part}),
        ]
    elif item["type"] == "function_call":
        begun = {**item, "arguments": "", "status": "in_progress"}
        inner = [
            *[
                ("response.function_call_arguments.delta", {**place, "delta": piece})
                for piece in pieces(item["arguments"], 7)
            ],
            ("response.function_call_arguments.done", {**place, "arguments": item["arguments"], "name": item["name"]}),
        ]
    else:
        begun = {**item, "summary": [], "status": "in_progress"}
        text = item["summary"][0]["text"]
        place["summary_index"] = 0
        inner = [("response.reasoning_summary_text.delta", {**place, "delta": piece}) for piece in pieces(text, 6)]
        inner.append(("response.reasoning_summary_text.done", {**place, "text": text}))
    return [
        ("response.output_item.added", {"output_index": index, "item": begun}),
        *inner,
        ("response.output_item.done", {"output_index": index, "item": item}),
    ]


def error_body(code: int) -> dict[str, Any]:
    return {"error": {"message": f"the wire says {code}", "type": "wire_error", "param": None, "code": str(code)}}


def error_event() -> tuple[str, dict[str, Any]]:
    return "error", {"type": "error", **error_body(503)}
