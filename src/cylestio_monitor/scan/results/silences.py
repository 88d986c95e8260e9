"""Findings that the user knows and accepts."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.errors import ConfigError
from cylestio_monitor.scan.matching.compiled_rule import selects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.config import SilenceSettings


class _Entry(NamedTuple):
    rule: str | None
    path: re.Pattern[str] | None
    match_hash: str | None
    until: date | None


class Silences:
    """The silences of the settings. Every criterion of an entry must hold; an entry without one is refused."""

    def __init__(self, entries: Sequence[SilenceSettings], problems: list[ConfigError]) -> None:
        """Reads the entries.

        Args:
            entries: As the settings have them.
            problems: Receives what cannot be used.
        """
        self._entries: list[_Entry] = []
        for number, entry in enumerate(entries):
            key = f"rules.silence[{number}]"
            if not (entry.rule or entry.path or entry.match_hash):
                reason = "needs a `rule`, a `path` or a `match_hash`: without one it would silence everything"
                problems.append(
                    ConfigError(reason, source="settings", key=key, used="Cylestio ignores the whole entry")
                )
                continue
            until = None
            if entry.until is not None:
                try:
                    until = date.fromisoformat(entry.until)
                except ValueError:
                    reason = f"must be a day, YYYY-MM-DD (got {entry.until!r})"
                    problems.append(
                        ConfigError(
                            reason, source="settings", key=f"{key}.until", used="Cylestio ignores the whole entry"
                        )
                    )
                    continue
            path = re.compile(".*".join(map(re.escape, entry.path.split("*")))) if entry.path else None
            self._entries.append(_Entry(entry.rule, path, entry.match_hash, until))

    def __bool__(self) -> bool:
        return bool(self._entries)

    def covers(self, rule_id: str, path: str, match_hash: str) -> bool:
        """Returns whether the finding is silenced today (UTC)."""
        today: date | None = None
        for entry in self._entries:
            if entry.rule is not None and not selects(entry.rule, rule_id):
                continue
            if entry.path is not None and not entry.path.fullmatch(path):
                continue
            if entry.match_hash is not None and entry.match_hash != match_hash:
                continue
            if entry.until is not None:
                today = today or datetime.now(timezone.utc).date()
                if today > entry.until:
                    continue
            return True
        return False
