"""What a decision about a tool call costs, and a replay of stored calls against the decisions that were made live.

Times of decisions are of the thread's own processor time, so that other programs on the machine count less.
"""

from __future__ import annotations

import gc
import statistics
import time
from array import array
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.config import StoreSettings
from cylestio_monitor.govern.controller import Controller
from cylestio_monitor.govern.facts import CallFacts, argument_facts
from cylestio_monitor.govern.history import CallHistory
from cylestio_monitor.govern.outcome import Actor
from cylestio_monitor.govern.policy import Policy, PolicyDocument, replay
from cylestio_monitor.store import Store
from cylestio_monitor.store.read import control, queries
from cylestio_monitor.store.sqlite import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Table = list[tuple[str, ...]]

KEY: Final = b"k" * 32
RULES: Final = 50
MESSAGES: Final = 100
ROUNDS: Final = 5

CONDITIONS: Final[list[dict[str, Any]]] = [
    {"arguments": {"to": {"host": ["*.example.com"]}}, "action": "audit"},
    {"arguments": {"path": {"path": ["/srv/data"]}}, "action": "allow"},
    {"from": {"severity": "medium"}, "action": "ask"},
    {"findings": {"category": "prompt_injection", "severity": "medium"}, "action": "deny"},
    {"after": {"tool": "read_*"}, "action": "audit"},
    {"rate": {"limit": 1_000_000, "per": "minute", "by": "session"}, "action": "ask"},
    {"arguments": {"amount": {"max": 100}}, "action": "allow"},
    {"role": "admin", "action": "allow"},
    {"agent": "release-*", "user": "ann", "action": "allow"},
    {"arguments": {"subject": {"max_length": 60}}, "action": "allow"},
]
"""One rule for each kind of condition that needs no content, so that a replay can test them all."""

ARGUMENTS: Final = {
    "to": ["ann@mail.example.com"],
    "subject": "Weekly report",
    "amount": 40,
    "path": "/srv/data/reports/week.txt",
    "body": "Hello Ann, please find the report of this week attached. It covers sales and support.",
}
WHO: Final = Actor("support", "carl", ("clerk",), "session", "0" * 31 + "1")


def policy(tools: Callable[[int], str | None]) -> Policy:
    """A policy of `RULES` rules; `tools` gives the tool of each, `None` for one about every tool."""
    rules = []
    for number in range(RULES):
        tool = tools(number)
        named = {"tool": tool} if tool is not None else {}
        rules.append({"id": f"rule-{number}", **named, **CONDITIONS[number % len(CONDITIONS)]})
    return Policy(msgspec.convert({"rules": rules}, PolicyDocument), KEY)


def every_tool(_: int) -> None:
    """All rules are about every tool: each is tested in each decision."""


def own_tool(number: int) -> str:
    """Each rule is about a tool of its own, as in a learned policy."""
    return "send_email" if number == 0 else f"tool_{number}"


def decisions() -> Table:
    """Rows of one decision, without and with provenance."""
    rows = [
        (f"decision of the policy, {name}", *_spread(lambda tools=tools: _policy_alone(tools)))
        for name, tools in (("all 50 rules are about the tool", every_tool), ("one of 50 rules is", own_tool))
    ]
    compiled = policy(own_tool)
    rows += [
        (
            "lookup of all values, 100 messages, nothing new",
            *_spread(lambda: _lookups(compiled, is_new=False, whole=False)),
        ),
        (
            "lookup of all values, after a new result of 1 KB",
            *_spread(lambda: _lookups(compiled, is_new=True, whole=False)),
        ),
        ("whole decision, 100 messages, nothing new", *_spread(lambda: _lookups(compiled, is_new=False, whole=True))),
        ("whole decision, after a new result of 1 KB", *_spread(lambda: _lookups(compiled, is_new=True, whole=True))),
    ]
    return rows


def _policy_alone(tools: Callable[[int], str | None]) -> list[float]:
    """Times of decisions about facts that are known."""
    compiled, history = policy(tools), CallHistory()
    facts = CallFacts(
        time_ns=time.time_ns(),
        tool="send_email",
        agent=WHO.agent,
        user=WHO.user,
        roles=WHO.roles,
        session=WHO.session,
        trace=WHO.trace,
        arguments=argument_facts(ARGUMENTS, KEY)[0],
    )
    history.record(facts)
    return _times(lambda: compiled.decide(facts, history))


def _lookups(compiled: Policy, *, is_new: bool, whole: bool, conversations: int = 12, calls: int = 60) -> list[float]:
    """Times of calls in conversations of 100 messages; with `is_new`, each call comes after another tool result."""
    found: list[float] = []
    for number in range(conversations):
        controller = Controller(key=KEY, policy=compiled)
        actor = WHO._replace(session=f"session {number}")
        conversation = controller.conversation(actor)
        assert conversation is not None
        conversation.add("user", "Send the weekly report to Ann, and pay the supplier.")
        for message in range(MESSAGES - 1):
            conversation.add("tool", result(number * 1000 + message), tool="read_inbox", part=f"{message}")
        conversation.trace("send_email", ARGUMENTS)  # what has waited is read at the first call
        for call in range(calls):
            if is_new:
                conversation.add("tool", result(number * 1000 + MESSAGES + call), tool="read_inbox", part=f"new {call}")
            arguments = {**ARGUMENTS, "to": [f"person{call}@mail.example.com"]}
            began = time.thread_time()
            if whole:
                controller.decide(actor, "send_email", arguments, is_asked=True)
            else:
                conversation.trace("send_email", arguments)
            found.append(time.thread_time() - began)
    return found


def result(number: int) -> str:
    """A tool result of 1 KB: an inbox as JSON, or a page of prose."""
    if number % 2:
        page = f"Ticket {number} was opened by person{number}@mail.example.com about invoice INV-{number}. "
        return (page + "The customer asked for a copy, and the clerk sent it on the same day. ") * 7
    mails = [
        {
            "id": number * 10 + mail,
            "from": f"person{mail}@mail{number}.example.com",
            "subject": f"Order A{number}-{mail}",
            "body": f"Please have a look at https://shop.example.com/orders/{number}/{mail} when you find the time.",
        }
        for mail in range(6)
    ]
    return msgspec.json.encode(mails).decode()


def _times(work: Callable[[], object], calls: int = 2000) -> list[float]:
    found = []
    for _ in range(calls):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return found


def _spread(measure: Callable[[], list[float]]) -> tuple[str, str]:
    """Median and 99th percentile of each of `ROUNDS` rounds, in us: the median round, the least and the most."""
    measure()
    gc.collect()
    rounds = [sorted(measure()) for _ in range(ROUNDS)]
    return tuple(_figures([times[int(len(times) * part)] * 1e6 for times in rounds]) for part in (0.5, 0.99))


def _figures(figures: list[float]) -> str:
    return f"{statistics.median(figures):.1f} us ({min(figures):.1f} to {max(figures):.1f})"


def replayed(folder: Path, calls: int) -> Table:
    """Rows of a replay of stored calls, and of its decisions against those that were made live."""
    compiled = policy(lambda number: None if number % 5 == 0 else f"tool_{number}")
    path = folder / "replay" / "store.db"
    settings = StoreSettings(max_mb=8192)
    store = Store.open(path, settings)
    store.flush(20)
    store.close()
    live = array("q")
    connection = database.connect(path, settings)
    try:
        with database.transaction(connection):
            connection.executemany(
                "INSERT INTO call_facts (run, trace_id, span_id, time_ns, agent_id, session_id, tool, facts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                _decided(compiled, calls, live),
            )
    finally:
        connection.close()
    same = 0
    began, began_cpu = time.perf_counter(), time.process_time()
    with queries.connect(path) as connection:
        again = replay.replay(compiled, control.calls_since(connection, 0))
        for number, one in enumerate(again):
            same += hash(one.decision) == live[number]
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    rules = len(set(live))
    return [
        (
            f"replay of {calls:,} stored calls, read from the store",
            f"{cpu:.1f} s of processor time, {wall:.1f} s by the clock",
        ),
        ("decisions equal to those made live", f"{same:,} of {calls:,}; {rules} different decisions are among them"),
    ]


def _decided(compiled: Policy, calls: int, live: array[int]) -> Iterator[tuple[object, ...]]:
    """Rows of calls that are decided one after the other, as the pipeline does; their hashes go to `live`."""
    history = CallHistory()
    shapes = [
        argument_facts(
            {
                **ARGUMENTS,
                "to": [f"person{n}@{'mail' if n % 3 else 'other'}.example.com"],
                "amount": n,
                "path": f"/srv/d{n % 9}/{n}",
            },
            KEY,
        )[0]
        for n in range(500)
    ]
    for number in range(calls):
        facts = CallFacts(
            time_ns=1_700_000_000_000_000_000 + number * 5_000_000,
            tool="read_inbox" if number % 7 == 0 else f"tool_{number * 13 % 60}",
            agent=f"agent {number % 5}",
            user="ann" if number % 4 else "bob",
            roles=("admin",) if number % 50 == 0 else (),
            session=f"session {number // 40}",
            trace=f"{number // 20:032x}",
            arguments=shapes[number * 31 % len(shapes)],
        )
        live.append(hash(compiled.decide(facts, history)))
        history.record(facts)
        who = (facts.agent, facts.session, facts.tool)
        yield (number, facts.trace, f"{number:016x}", facts.time_ns, *who, facts.storable().decode())
