"""Reports what a content moderation step decided, beside the calls it guards."""

from __future__ import annotations

from cylestio_monitor import log_event, start_monitoring, stop_monitoring

UNWANTED = {"violence": ("attack them", "hurt him"), "harassment": ("you idiot",)}


def moderate(text: str, direction: str) -> bool:
    """Whether the text may pass; what was decided is recorded either way. Your own moderation model stands here."""
    lowered = text.lower()
    categories = [name for name, phrases in UNWANTED.items() if any(phrase in lowered for phrase in phrases)]
    log_event(
        "content_moderation",
        {
            "alert": "suspicious" if categories else "none",
            "flagged": bool(categories),
            "categories": categories,
            "direction": direction,
            "length": len(text),
        },
        channel="LLM",
        level="WARNING" if categories else "INFO",
    )
    return not categories


if __name__ == "__main__":
    start_monitoring("support-agent")
    print(moderate("How do I change my address?", "input"))
    print(moderate("You idiot, answer me!", "input"))
    stop_monitoring()
