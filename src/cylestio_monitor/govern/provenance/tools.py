"""The effect of a tool: whether it acts, fetches an address or only reads, and whether the user asked for it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Effect: TypeAlias = Literal["acts", "fetches", "reads"]

_FETCHES: Final = frozenset(
    [
        "fetch",
        "browse",
        "visit",
        "open",
        "navigate",
        "crawl",
        "scrape",
        "download",
        "curl",
        "wget",
        "webpage",
        "website",
        "url",
        "http",
    ]
)
_READS: Final = frozenset(
    [
        "get",
        "list",
        "search",
        "read",
        "find",
        "lookup",
        "look",
        "query",
        "show",
        "view",
        "check",
        "count",
        "describe",
        "calculate",
        "compute",
        "think",
        "summarize",
        "summarise",
        "translate",
        "parse",
        "validate",
        "verify",
        "compare",
        "preview",
        "explain",
        "analyze",
        "analyse",
        "inspect",
        "retrieve",
        "select",
        "peek",
        "status",
        "info",
        "help",
        "whoami",
        "date",
        "time",
        "weather",
        "recommend",
        "rate",
        "estimate",
        "transcribe",
        "extract",
        "filter",
        "sort",
    ]
)
_ASKED: Final[dict[str, frozenset[str]]] = {
    verb: frozenset(asked.split())
    for verbs, asked in {
        "fetch browse visit navigate crawl scrape download curl wget webpage website url http": (
            "fetch browse visit navigate crawl scrape download website webpage web page site article link url blog "
            "post read open online internet details"
        ),
        "send email mail message reply forward notify post publish tweet dm direct": (
            "send email mail message reply forward notify post publish tweet write tell inform let share say respond "
            "answer ask thank remind contact announce submit drop summary"
        ),
        "invite add": "invite add include join onboard register append put insert attach welcome participant",
        "pay transfer schedule_payment buy purchase order donate refund charge withdraw deposit transaction": (
            "pay transfer send buy purchase order donate refund charge withdraw deposit settle bill rent money owe "
            "reimburse return transaction spend give gift subscription amount standing"
        ),
        "create make new insert generate write save upload append schedule book reserve register subscribe": (
            "create make new insert generate write save upload append schedule book reserve register subscribe plan "
            "add set note record draft put organize organise arrange reservation appointment event meeting file remind "
            "stay reminder block"
        ),
        "delete remove drop cancel clear erase purge unsubscribe revoke kill stop terminate destroy": (
            "delete remove drop cancel clear erase purge unsubscribe revoke kill stop terminate destroy clean get rid "
            "undo leave dismiss"
        ),
        "update set change edit modify rename move reschedule replace reset patch put configure enable disable": (
            "update set change edit modify rename move reschedule replace reset patch configure enable disable fix "
            "correct adjust increase decrease switch upgrade downgrade instead refill"
        ),
        "share grant assign approve merge deploy push commit publish release execute run exec eval shell bash invoke": (
            "share grant assign approve merge deploy push commit publish release execute run command script shell test "
            "build give access install"
        ),
    }.items()
    for verb in verbs.split()
}
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@lru_cache(maxsize=1024)
def effect(tool: str) -> Effect:
    """The effect that the words of a tool's name state; a name that states none is taken to act.

    Args:
        tool: The tool's name, such as ``send_email``, ``deleteFile`` or ``mcp__files__read_file``.
    """
    words = _words(tool)
    for word in words:
        if word in _FETCHES:
            return "fetches"
        if word in _ASKED:
            return "acts"
        if word in _READS:
            return "fetches" if _FETCHES.intersection(words) else "reads"
    return "acts"


def effect_of(
    tool: str, *, hints: Mapping[str, object] | None = None, catalogue: Mapping[str, Effect] | None = None
) -> Effect:
    """The effect of a tool by the user's catalogue, else the MCP annotations, else its name.

    Args:
        tool: The tool's name.
        hints: MCP annotations: ``readOnlyHint``, ``destructiveHint``, ``openWorldHint``. A server states them
            about itself, so they make a tool stricter and never milder than its name.
        catalogue: The user's own statements by tool name.
    """
    if catalogue and tool in catalogue:
        return catalogue[tool]
    named = effect(tool)
    if hints:
        if hints.get("destructiveHint") is True or hints.get("readOnlyHint") is False:
            return "acts"
        if hints.get("openWorldHint") is True and named == "reads":
            return "fetches"
    return named


def asked_for(tool: str, user_words: str) -> bool:
    """Returns whether a word of the user asks for what the tool does.

    Args:
        tool: The tool's name.
        user_words: All the user's words in lower case, as `atoms.words` gives them.
    """
    words = _words(tool)
    wanted = {form for word in words for form in _ASKED.get(word, (word,))}
    return any(_says(user_words, word) for word in wanted)


def _says(text: str, word: str) -> bool:
    stem = word[:-1] if len(word) > 4 and word.endswith("e") else word
    return f" {stem}" in text


@lru_cache(maxsize=1024)
def _words(tool: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(tool.rpartition("__")[2].rpartition("/")[2]))
