"""The Anthropic wire format: messages, token counts, batches, text completions, and the events of a stream."""

from __future__ import annotations

import json
from typing import Any

from wire.blocks import Answer, Text, Thinking, ToolCall, pieces

ID = "msg_wire_1"


def usage(answer: Answer) -> dict[str, Any]:
    counts = answer.usage
    body: dict[str, Any] = {
        "input_tokens": counts.input,
        "output_tokens": counts.output,
        "cache_read_input_tokens": counts.cache_read,
        "cache_creation_input_tokens": counts.cache_write,
        "service_tier": "standard",
    }
    if counts.reasoning:
        body["output_tokens_details"] = {"thinking_tokens": counts.reasoning}
    return body


def content(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for block in answer.blocks:
        if isinstance(block, Text):
            blocks.append({"type": "text", "text": block.text, "citations": None})
        elif isinstance(block, Thinking):
            blocks.append({"type": "thinking", "thinking": block.text, "signature": "sig"})
        else:
            blocks.append({"type": "tool_use", "id": block.id, "name": block.name, "input": block.arguments})
    return blocks


def stop_reason(answer: Answer) -> str:
    return answer.stop or ("tool_use" if answer.wants_tool else "end_turn")


def message(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ID,
        "type": "message",
        "role": "assistant",
        "model": request.get("model") or "claude-wire",
        "content": content(answer),
        "stop_reason": stop_reason(answer),
        "stop_sequence": None,
        "usage": usage(answer),
    }


def events(answer: Answer, request: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The stream's events: name and data."""
    start = message(answer, request)
    start.update(content=[], stop_reason=None, usage={**usage(answer), "output_tokens": 1})
    stream: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": start}), ("ping", {})]
    for index, block in enumerate(answer.blocks):
        stream += _block_events(index, block)
    counts = {**usage(answer), "output_tokens": answer.usage.output}
    stream.append(
        ("message_delta", {"delta": {"stop_reason": stop_reason(answer), "stop_sequence": None}, "usage": counts})
    )
    stream.append(("message_stop", {}))
    return [(name, {"type": name, **data}) for name, data in stream]


def _block_events(index: int, block: Text | Thinking | ToolCall) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(block, Text):
        empty: dict[str, Any] = {"type": "text", "text": "", "citations": None}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block.text, block.piece)]
    elif isinstance(block, Thinking):
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block.text, block.piece)]
        deltas.append({"type": "signature_delta", "signature": "sig"})
    else:
        empty = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
        deltas = [
            {"type": "input_json_delta", "partial_json": piece} for piece in pieces(json.dumps(block.arguments), 7)
        ]
    return [
        ("content_block_start", {"index": index, "content_block": empty}),
        *[("content_block_delta", {"index": index, "delta": delta}) for delta in deltas],
        ("content_block_stop", {"index": index}),
    ]


def batch(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msgbatch_wire_1",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {
            "processing": len(request.get("requests", [])),
            "succeeded": 0,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        },
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-02T00:00:00Z",
        "results_url": None,
    }


def batch_results(answer: Answer) -> bytes:
    """Two lines of JSON: one request that succeeded, one that failed."""
    lines = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": message(answer, {})}},
        {"custom_id": "b", "result": {"type": "errored", "error": error_body(400)}},
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def completion(answer: Answer, request: dict[str, Any]) -> dict[str, Any]:
    text = "".join(block.text for block in answer.blocks if isinstance(block, Text))
    return {
        "id": "compl_wire_1",
        "type": "completion",
        "completion": text,
        "model": request.get("model"),
        "stop_reason": "stop_sequence",
    }


def error_body(code: int) -> dict[str, Any]:
    kind = {429: "rate_limit_error", 529: "overloaded_error", 400: "invalid_request_error"}.get(code, "api_error")
    return {"type": "error", "error": {"type": kind, "message": f"the wire says {code}"}}


def error_event() -> tuple[str, dict[str, Any]]:
    return "error", error_body(529)
