"""Speaks the protocol of the Claude Code process: answers each prompt with a tool call, its result and a text."""

from __future__ import annotations

import json
import sys
from typing import Any

SESSION, MODEL = "session-1", "claude-sonnet-4-5"
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RETURNED = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "the key is AKIA" + "Z7VQ3XW5L2MN4RTB"}


def say(**message: Any) -> None:
    print(json.dumps({**message, "session_id": SESSION, "uuid": "u"}), flush=True)


def answer(name: str, block: dict[str, Any], reason: str) -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 5}
    body = {"id": name, "type": "message", "role": "assistant", "model": MODEL, "content": [block]}
    say(type="assistant", message={**body, "stop_reason": reason, "usage": usage}, parent_tool_use_id=None)


def turn() -> None:
    say(type="system", subtype="init", model=MODEL, tools=["Bash"], cwd="/", mcp_servers=[])
    answer("msg_1", {"type": "text", "text": "I look"}, "tool_use")
    answer("msg_1", TOOL, "tool_use")
    say(type="user", message={"role": "user", "content": [RETURNED]}, parent_tool_use_id=None)
    answer("msg_2", {"type": "text", "text": "all done"}, "end_turn")
    times = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 2, "total_cost_usd": 0.1}
    say(type="result", subtype="success", is_error=False, result="all done", usage={}, **times)


def main() -> None:
    """Answers until the input ends."""
    if "-v" in sys.argv or "--version" in sys.argv:
        print("99.0.0 (Claude Code)")
        return
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("type") == "control_request":
            response = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            print(json.dumps({"type": "control_response", "response": response}), flush=True)
        elif message.get("type") == "user":
            turn()


if __name__ == "__main__":
    main()
