"""One sentence about a run, and the way of the worst text in it: entered, carried, acted; all of it stored facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor import semconv
from cylestio_monitor.errors import counted
from cylestio_monitor.model import SEVERITY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.store.read.conversation.parts import TurnPart
    from cylestio_monitor.store.read.conversation.places import ShownFinding
    from cylestio_monitor.store.read.conversation.transcript import Transcript, Turn
    from cylestio_monitor.web.conversation import ConversationView, ValueWay

_ORDERS = frozenset({"prompt_injection", "jailbreak", "tool_poisoning"})


class Happened(NamedTuple):
    """The summary of a run.

    Attributes:
        severity: Of the worst finding.
        sentence: One sentence.
        entered: Index of the turn where the text came in; `None` where it is not known.
        entered_by: The tool or speaker that brought it.
        is_prose: Whether the value stood inside prose.
        rules: Number of rules that match the text there.
        carried: Model calls that were given the text.
        refused: Calls that were refused.
        acted: The value that a call used; `None` where no recorded call did.
        acted_tool: The tool that was called with it.
        outcome: ``ran``, ``refused`` or ``unknown``.
        tools: Tools that ran, by name.
        secrets: Different secrets that were sent to a model.
    """

    severity: str
    sentence: str
    entered: int | None
    entered_by: str
    is_prose: bool
    rules: int
    carried: int
    refused: int
    acted: ValueWay | None
    acted_tool: str
    outcome: str
    tools: tuple[str, ...]
    secrets: int


def happened(read: Transcript, view: ConversationView, findings: Iterable[ShownFinding]) -> Happened:
    """Summarises a run.

    Args:
        read: Its conversation.
        view: The same as it is shown.
        findings: Its findings.
    """
    found = list(findings)
    turns = read.turns
    worst = max(found, key=lambda one: SEVERITY_NUMBER.get(one.finding.severity, 0), default=None)
    acted = next((way for way in view.ways if way.letter), None)
    entered = _entered(turns, found, acted)
    called = _part(turns, acted)
    entered_by = _speaker(turns[entered]) if entered is not None else ""
    outcome = _outcome(called)
    there = [one for one in found if one.turn == entered] if entered is not None else []
    gave_orders = any(one.finding.category in _ORDERS for one in there)
    return Happened(
        severity=worst.finding.severity if worst else "none",
        sentence=_sentence(found, entered_by, called, outcome, gave_orders=gave_orders),
        entered=entered,
        entered_by=entered_by,
        is_prose=acted is not None and acted.value.origin.shape == "prose",
        rules=len({one.finding.rule_id for one in there}),
        carried=_carried(turns[entered]) if entered is not None else 0,
        refused=len({one.finding.span_id for one in found if one.finding.action == "block"}),
        acted=acted,
        acted_tool=called.name if called is not None else "",
        outcome=outcome,
        tools=_tools(turns),
        secrets=len({one.finding.match_hash for one in found if _is_sent_secret(one)}),
    )


def _entered(turns: list[Turn], found: list[ShownFinding], acted: ValueWay | None) -> int | None:
    """Index of the turn where the value, or else the worst text that others wrote, came in."""
    if acted is not None and acted.value.source is not None:
        return acted.value.source.turn
    foreign = [one for one in found if one.turn is not None and turns[one.turn].speaker in {"tool", "user"}]
    best = max(foreign, key=lambda one: SEVERITY_NUMBER.get(one.finding.severity, 0), default=None)
    return best.turn if best is not None else None


def _part(turns: list[Turn], way: ValueWay | None) -> TurnPart | None:
    use = way.value.use if way is not None else None
    return None if use is None else turns[use.turn].parts[use.part]


def _speaker(turn: Turn) -> str:
    name = next((part.name for part in turn.parts if part.name), "")
    return f"{name} result" if turn.speaker == "tool" and name else "tool result" if turn.speaker == "tool" else "user"


def _outcome(called: TurnPart | None) -> str:
    """The end of a tool call: it ran only where a span of the tool or an answer in the conversation says so."""
    if called is None:
        return "unknown"
    if called.tool_span is not None and called.tool_span["action"] == "block":
        return "refused"
    return "ran" if called.tool_span is not None or called.is_answered else "unknown"


_OUTCOMES = {"ran": "and the call ran", "refused": "and the call was refused", "unknown": "and no answer is recorded"}


def _sentence(
    found: list[ShownFinding], entered_by: str, called: TurnPart | None, outcome: str, *, gave_orders: bool
) -> str:
    if called is not None and entered_by:
        first = "gave the model orders" if gave_orders else "said a value that nobody else had said"
        tool = called.name or "a tool"
        return f"The {entered_by} {first}. The model asked for {tool} with words from it, {_OUTCOMES[outcome]}."
    if not found:
        return "No rule matched a text of this run."
    count = counted(len(found), "finding")
    where = f" The worst text that came from outside is in the {entered_by}." if entered_by else ""
    return f"{count}.{where} No recorded call used a value that only an untrusted result had said."


def _carried(turn: Turn) -> int:
    places = (place for part in turn.parts for place in part.places)
    return len({place.span_id for place in places if place.attribute == semconv.INPUT_MESSAGES})


def _tools(turns: list[Turn]) -> tuple[str, ...]:
    ran = [
        part.name
        for turn in turns
        for part in turn.parts
        if part.kind == "tool_call" and _outcome(part) == "ran" and part.name
    ]
    return tuple(dict.fromkeys(ran))


def _is_sent_secret(found: ShownFinding) -> bool:
    rows = (found.finding, *found.again)
    return any(
        one.category == "secret" and one.target == "input" and one.operation in semconv.INFERENCE for one in rows
    )
