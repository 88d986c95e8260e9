"""The conversation of a trace: the messages of all its calls, each once, with the places where it was recorded.

A model call carries the messages of the calls before it. A thread is a list of messages that grows from call to call;
calls of another agent, or with another beginning, have a thread of their own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.model import ASSISTANT_ROLES, SYSTEM_ROLES
from cylestio_monitor.store.read import lists, pages, traces
from cylestio_monitor.store.read.conversation.parts import PartPlace, TurnPart, items_of, leaves_of_json, part_of, said

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

    from cylestio_monitor.store.read.queries import Row
    from cylestio_monitor.store.sqlite.records import RecordedPart

MAX_CALLS: Final = 1000
"""Calls of a trace whose content is read."""

MAX_CONTENT: Final = 8_000_000
"""Code points of content that are read of a trace."""

MAX_PARTS: Final = 5000
"""Flagged and masked texts of a trace whose places are read, the newest."""

_REWRITTEN: Final = 2  # messages that two histories must share, for one to be a rewritten form of the other


class Turn(msgspec.Struct):
    """One message of the conversation.

    Attributes:
        speaker: ``system``, ``user``, ``model``, ``tool``, or the role that the application gave.
        parts: Its parts.
        span: The span that recorded it first: without attributes, events and content.
        time_ns: In ns since the epoch: the end of that span for an answer, else its begin.
        key: The same for equal messages.
    """

    speaker: str
    parts: list[TurnPart]
    span: Row
    time_ns: int
    key: bytes = b""


class Thread(msgspec.Struct):
    """One list of messages that grew from call to call.

    Attributes:
        turns: Its messages.
        calls: Model calls that carried it; 0 for the tool calls that no model asked for.
        rewritten: Indexes of turns before which the history was changed.
        agent_id: The agent of its first call.
        system: Key of its system instructions.
        history: The messages that the last call was given, and its answer.
        given: Number of messages that the last call was given.
        input_text: Their JSON without the closing bracket; empty where it has none.
    """

    turns: list[Turn]
    calls: int = 0
    rewritten: list[int] = []
    agent_id: str | None = None
    system: bytes = b""
    history: list[Turn] = []
    given: int = 0
    input_text: str = ""

    def common(self, turns: list[Turn], first: int = 0) -> int:
        """Number of messages at the begin of a list that the history has too, from its message `first` on."""
        number = 0
        for known, turn in zip(self.history[first:], turns, strict=False):
            if known.key != turn.key:
                break
            number += 1
        return number


class Transcript(NamedTuple):
    """The conversation of a trace.

    Attributes:
        threads: By the time of their first call.
        calls: Calls whose content was read.
        left_out: Calls whose content was not read because the trace has more than `MAX_CALLS` or `MAX_CONTENT`.
        errors: Reasons why recorded content could not be read, such as a missing key, each once.
        recorded: The places of its flagged and masked texts.
    """

    threads: list[Thread]
    calls: int
    left_out: int
    errors: tuple[str, ...]
    recorded: list[RecordedPart]

    @property
    def turns(self) -> list[Turn]:
        """The turns of all threads, one thread after the other."""
        return [turn for thread in self.threads for turn in thread.turns]


def transcript(connection: sqlite3.Connection, trace_id: str, path: Path | None = None) -> Transcript:
    """Reads the conversation of a trace.

    Args:
        connection: From `queries.connect`.
        trace_id: 32 hexadecimal digits.
        path: The database, where encrypted content shall be opened with the key of the environment.
    """
    threads: list[Thread] = []
    tools: list[tuple[Row, dict[str, str]]] = []
    errors: dict[str, None] = {}
    size = calls = 0
    for span in traces.spans_with_content(connection, trace_id, path):
        if calls >= MAX_CALLS or size > MAX_CONTENT:
            break
        attributes = span.pop("attributes")
        if error := span.pop("content_error", None):
            errors[error] = None
        texts = {name: attributes[name] for name in _CONTENT if isinstance(attributes.get(name), str)}
        calls += 1
        if semconv.TOOL_CALL_ARGUMENTS in texts or semconv.TOOL_CALL_RESULT in texts:
            tools.append((span, texts))
            size += sum(map(len, texts.values()))
        else:
            size += _add_call(threads, span, texts)
    left_out = traces.count_with_content(connection, trace_id) - calls
    requests, answers = _requests(threads), _answers(threads)
    for span, texts in tools:
        _add_tool(threads, requests, answers, span, texts)
    recorded = pages.read_page(connection, lists.PARTS, {"trace_id": trace_id}, limit=MAX_PARTS).rows
    return Transcript(threads, calls, left_out, tuple(errors), recorded)


_CONTENT: Final = (
    semconv.SYSTEM_INSTRUCTIONS,
    semconv.INPUT_MESSAGES,
    semconv.OUTPUT_MESSAGES,
    semconv.TOOL_CALL_ARGUMENTS,
    semconv.TOOL_CALL_RESULT,
)


def _add_call(threads: list[Thread], span: Row, texts: Mapping[str, str]) -> int:
    """Adds the messages of a model call to the thread that they continue, or to a new one.

    Returns:
        The number of code points that were read. A call repeats the messages of the call before it, letter by letter:
        they are not read again.
    """
    text = texts.get(semconv.INPUT_MESSAGES, "")
    system = _system(span, texts.get(semconv.SYSTEM_INSTRUCTIONS))
    said = _messages(span, texts.get(semconv.OUTPUT_MESSAGES), semconv.OUTPUT_MESSAGES, span["end_ns"])
    thread = next((one for one in reversed(threads) if _continues(one, text)), None)
    if thread is not None:
        known = thread.given
        rest = f"[{text[len(thread.input_text) + 1 :]}" if len(text) > len(thread.input_text) + 1 else None
        given = _messages(span, rest, semconv.INPUT_MESSAGES, span["start_ns"], known)
        for number, turn in enumerate(thread.history[:known]):
            for index, part in enumerate(turn.parts):
                part.places.append(PartPlace(span["span_id"], semconv.INPUT_MESSAGES, f"/{number}/parts/{index}"))
    else:
        known, rest = 0, text
        given = _messages(span, text or None, semconv.INPUT_MESSAGES, span["start_ns"])
        if not (system or given or said):
            return 0
        thread = _thread_of(threads, given, span)
    thread.calls += 1
    _add_system(thread, system)
    shared = thread.common(given, known)
    for turn, again in zip(thread.history[known : known + shared], given, strict=False):
        _join(turn, again)
    if known + shared < len(thread.history):
        thread.rewritten.append(len(thread.turns))
    thread.turns += given[shared:] + said
    thread.history = thread.history[: known + shared] + given[shared:] + said
    thread.given = len(thread.history) - len(said)
    thread.input_text = text[:-1] if text.endswith("]") else ""
    return len(rest or "") + len(texts.get(semconv.OUTPUT_MESSAGES, ""))


def _continues(thread: Thread, text: str) -> bool:
    """Returns whether a call was given the same messages as the last call of a thread, and perhaps more."""
    begin = thread.input_text
    return len(begin) > 1 and text.startswith(begin) and text[len(begin) : len(begin) + 1] == ","


def _thread_of(threads: list[Thread], given: list[Turn], span: Row) -> Thread:
    """The thread that shares the most messages with a call; a new one where none is continued or rewritten."""
    best, most = None, 0
    for thread in reversed(threads):
        own, shared = len(thread.history), thread.common(given)
        is_rewritten = shared >= _REWRITTEN and 2 * shared >= own and len(given) > shared
        if shared > most and (shared == own or is_rewritten):
            best, most = thread, shared
    if best is None:
        best = Thread([], agent_id=span["agent_id"])
        threads.append(best)
    return best


def _add_system(thread: Thread, system: Turn | None) -> None:
    """Adds the system instructions of a call where they differ from those before."""
    if system is None:
        return
    if system.key != thread.system:
        thread.system = system.key
        thread.turns.append(system)
        return
    _join(next(turn for turn in reversed(thread.turns) if turn.key == system.key), system)


def _join(known: Turn, again: Turn) -> None:
    """Adds the places of a message that was recorded again."""
    for part, other in zip(known.parts, again.parts, strict=False):
        part.places += other.places


def _system(span: Row, text: str | None) -> Turn | None:
    items = items_of(text)
    parts = [
        part_of(item, PartPlace(span["span_id"], semconv.SYSTEM_INSTRUCTIONS, f"/{n}")) for n, item in enumerate(items)
    ]
    return Turn("system", parts, span, span["start_ns"], _key("system", parts)) if parts else None


def _messages(span: Row, text: str | None, attribute: str, time_ns: int, first: int = 0) -> list[Turn]:
    turns: list[Turn] = []
    for number, message in enumerate(items_of(text), first):
        fields: Mapping[str, Any] = message if isinstance(message, dict) else {"content": message}
        role = str(fields.get("role") or ("assistant" if attribute == semconv.OUTPUT_MESSAGES else "user"))
        items = fields.get("parts")
        if not isinstance(items, list):
            items = [{"type": "text", "content": fields.get("content")}]
        places = [PartPlace(span["span_id"], attribute, f"/{number}/parts/{index}") for index in range(len(items))]
        parts = [part_of(item, place) for item, place in zip(items, places, strict=True)]
        speaker = _speaker(role, parts)
        turns.append(Turn(speaker, parts, span, time_ns, _key(speaker, parts)))
    return turns


def _speaker(role: str, parts: list[TurnPart]) -> str:
    if role in ASSISTANT_ROLES:
        return "model"
    if role in SYSTEM_ROLES:
        return "instructions"
    if parts and all(part.kind == "tool_result" for part in parts):
        return "tool"
    return role


def _key(speaker: str, parts: list[TurnPart]) -> bytes:
    return msgspec.json.encode([speaker, [[part.kind, part.name, part.left_out, said(part.leaves)] for part in parts]])


_Found = dict[str, list[tuple[Thread, Turn, TurnPart]]]


def _requests(threads: list[Thread]) -> _Found:
    """The tool calls that models asked for, by the tool's last name, in the order of the conversation."""
    found: _Found = defaultdict(list)
    for thread in threads:
        for turn in thread.turns:
            for part in turn.parts:
                if part.kind == "tool_call":
                    found[_last_name(part.name)].append((thread, turn, part))
    return found


def _answers(threads: list[Thread]) -> dict[tuple[int, str], TurnPart]:
    """The tool results that went back to a model, by thread and id of the call."""
    found: dict[tuple[int, str], TurnPart] = {}
    for thread in threads:
        for turn in thread.turns:
            for part in turn.parts:
                if part.kind == "tool_result" and part.call_id:
                    found[id(thread), part.call_id] = part
    for thread in threads:
        for turn in thread.turns:
            for part in turn.parts:
                if part.kind == "tool_call" and (id(thread), part.call_id) in found:
                    part.is_answered = True
                    answer = found[id(thread), part.call_id]
                    answer.name = answer.name or part.name
    return found


def _add_tool(
    threads: list[Thread],
    requests: _Found,
    answers: Mapping[tuple[int, str], TurnPart],
    span: Row,
    texts: Mapping[str, str],
) -> None:
    """Joins the span of a tool call with the request of the model and with the answer that the model got."""
    name = span["tool"] or span["name"]
    arguments, left_out, whole = leaves_of_json(texts.get(semconv.TOOL_CALL_ARGUMENTS))
    asked_at = PartPlace(span["span_id"], semconv.TOOL_CALL_ARGUMENTS, "")
    wanted = said(arguments)
    open_ones = [
        found
        for found in requests.get(_last_name(name), ())
        if found[2].tool_span is None and found[1].span["start_ns"] <= span["start_ns"]
    ]
    chosen = next(
        (found for found in open_ones if said(found[2].leaves) == wanted),
        open_ones[0] if open_ones else None,
    )
    result = _result(span, name, texts.get(semconv.TOOL_CALL_RESULT))
    if chosen is None:
        request = TurnPart("tool_call", arguments, left_out, [asked_at], name, tool_span=span, whole=whole)
        turns = [Turn("program", [request], span, span["start_ns"])]
        if result is not None:
            turns.append(Turn("tool", [result], span, span["end_ns"]))
        direct = next((thread for thread in threads if not thread.calls), None)
        if direct is None:
            direct = Thread([], agent_id=span["agent_id"])
            threads.append(direct)
        direct.turns += turns
        return
    thread, turn, part = chosen
    part.tool_span = span
    part.places.append(asked_at)
    answer = answers.get((id(thread), part.call_id))
    if result is None:
        return
    if answer is not None:
        answer.tool_span = span
        answer.places += result.places
        return
    at = next(number for number, one in enumerate(thread.turns) if one is turn) + 1
    while at < len(thread.turns) and thread.turns[at].speaker == "tool":
        at += 1
    thread.turns.insert(at, Turn("tool", [result], span, span["end_ns"]))


def _result(span: Row, name: str, text: str | None) -> TurnPart | None:
    if text is None:
        return None
    found, left_out, whole = leaves_of_json(text)
    place = PartPlace(span["span_id"], semconv.TOOL_CALL_RESULT, "")
    return TurnPart("tool_result", found, left_out, [place], name, tool_span=span, whole=whole)


def _last_name(name: str) -> str:
    return name.rpartition("/")[2]
