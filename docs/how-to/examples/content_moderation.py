"""Moderates what a tool brings into the conversation; model calls are moderated in the same way."""

from __future__ import annotations

from cylestio_monitor import Moderation, on_moderation, start_monitoring, stop_monitoring, tool

UNWANTED = {"violence": ("attack them", "hurt him"), "harassment": ("you idiot",)}


def moderate(text: str, *, target: str, subtype: str) -> Moderation:
    """Judges one text. Your own moderation model or service stands here; it may be a coroutine function."""
    lowered = text.lower()
    categories = [name for name, phrases in UNWANTED.items() if any(phrase in lowered for phrase in phrases)]
    print(f"{target} {subtype}: {categories}")
    return Moderation("deny" if "violence" in categories else "warn" if categories else "allow", tuple(categories))


@tool
def read_ticket(number: int) -> str:
    """Returns the text of a ticket."""
    return {1: "How do I change my address?", 2: "You idiot, answer me!"}[number]


if __name__ == "__main__":
    moderation = {"surfaces": ["llm", "tool_result"], "wait": True}
    start_monitoring("support-agent", {"moderation": moderation})
    on_moderation(moderate, name="house")
    read_ticket(1)
    read_ticket(2)
    stop_monitoring()
