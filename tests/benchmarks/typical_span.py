"""A span of one model call as this product records it: 2 KB, two thirds of it messages."""

from __future__ import annotations

import json
import random

_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "with",
    "report",
    "revenue",
    "cost",
    "quarter",
    "customer",
    "order",
    "delivery",
    "schedule",
    "region",
    "team",
    "note",
    "answer",
    "board",
    "risk",
    "figure",
    "attached",
    "please",
    "summarise",
    "list",
    "three",
    "largest",
    "draft",
    "short",
    "new",
    "begins",
    "march",
    "north",
    "asked",
    "faster",
    "growth",
    "twelve",
    "percent",
    "while",
    "stay",
    "account",
    "invoice",
    "payment",
    "refund",
    "ticket",
    "contract",
    "renewal",
    "meeting",
]


def text(length: int, seed: int) -> str:
    """Prose of about so many characters, with a number now and then."""
    chance = random.Random(seed)
    words = []
    size = 0
    while size < length:
        word = str(chance.randint(10, 99_999)) if chance.random() < 0.06 else chance.choice(_WORDS)
        words.append(word)
        size += len(word) + 1
    return " ".join(words)


def attributes(number: int, *, alert: str = "none", severity: int = 0) -> dict:
    """The attributes of span `number`: 24 of them, 2,000 bytes of JSON."""
    chance = random.Random(number)
    question = [{"role": "user", "parts": [{"type": "text", "content": text(480, number)}]}]
    answer = [
        {"role": "assistant", "parts": [{"type": "text", "content": text(480, -number)}], "finish_reason": "stop"}
    ]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.response.model": "claude-sonnet-4-5-20250929",
        "gen_ai.response.id": f"msg_01{chance.getrandbits(80):020x}",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": chance.randint(10, 3000),
        "gen_ai.usage.output_tokens": chance.randint(10, 900),
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "cylestio.agent.id": "support-agent",
        "cylestio.session.id": f"session-{number // 20:08x}",
        "cylestio.security.scanned": True,
        "cylestio.security.alert": alert,
        "cylestio.security.severity": ("none", "low", "medium", "high", "critical")[severity],
        "cylestio.security.severity_number": severity,
        "cylestio.security.finding.count": int(severity > 0),
        "cylestio.security.verdict": "allow",
        "cylestio.security.action": "allow",
        "gen_ai.input.messages": json.dumps(question),
        "gen_ai.output.messages": json.dumps(answer),
    }
