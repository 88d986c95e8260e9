"""The user's own words as rules: obeyed as written, at the level they stand under."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from cylestio_monitor.errors import ConfigError
from cylestio_monitor.rules.model import Examples, Rule

if TYPE_CHECKING:
    from cylestio_monitor.config import KeywordSettings

_NAMESPACE = uuid.UUID("6f1d5c0e-6a52-4c0b-9d0b-2b8f4f3f6a11")
_LEVELS = (("dangerous", "high"), ("suspicious", "medium"))


def keyword_rules(keywords: KeywordSettings, problems: list[ConfigError]) -> list[Rule]:
    """One rule per word or phrase; one that stands under both levels keeps the graver."""
    rules: dict[str, Rule] = {}
    seen: set[str] = set()
    for level, severity in _LEVELS:
        for number, raw in enumerate(getattr(keywords, level)):
            words = " ".join(raw.split())
            folded = words.casefold()
            if not words or len(words) > 200:
                key = f"keywords.{level}[{number}]"
                reason = "is empty or longer than 200 characters"
                problems.append(ConfigError(reason, source="settings", key=key, used="Cylestio ignores the word"))
                continue
            if folded in seen:
                continue
            seen.add(folded)
            rule_id = _free(f"keyword.user.{_slug(folded)}", rules)
            rules[rule_id] = Rule(
                id=rule_id,
                uuid=str(uuid.uuid5(_NAMESPACE, folded)),
                title=f"Keyword of the settings: {words[:80]}",
                category="keyword",
                severity=severity,  # type: ignore[arg-type]  # one of the two above
                keywords=(words,),
                surfaces=("llm", "tool_call", "tool_result", "tool_definition", "system", "memory", "tool_name"),
                examples=Examples(hit=(words,), miss=("",)),
                ruleset="settings",
            )
    return list(rules.values())


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "word-" + uuid.uuid5(_NAMESPACE, words).hex[:8]


def _free(rule_id: str, taken: dict[str, Rule]) -> str:
    number, name = 1, rule_id
    while name in taken:
        number += 1
        name = f"{rule_id}-{number}"
    return name
