"""The smallest policy that fits what agents did: default ``deny``, and one rule for each tool of each agent.

A rule states what all observed calls have in common and facts can show: hosts, folders, ranges of numbers. Calls with a
dangerous finding are left out and named, because a policy must not learn an attack.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cylestio_monitor.model import SEVERITY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.govern.facts import ArgumentFact, CallFacts

_MAX_HOSTS: Final = 10
_MAX_FOLDERS: Final = 5
_MIN_CALLS: Final = 20  # a range or a rate from fewer calls would be chance
_MINUTE_NS: Final = 60_000_000_000


class LearnedTool(NamedTuple):
    """The observed calls of one tool by one agent.

    Attributes:
        agent: Agent id; empty where the calls named none.
        tool: ``server/tool``.
        calls: Calls observed.
        sessions: Sessions that made them.
        arguments: The learned conditions by argument, as the document spells them.
        rate: The 99th percentile of calls a minute in one session; ``None`` where there were too few calls.
    """

    agent: str
    tool: str
    calls: int
    sessions: int
    arguments: dict[str, dict[str, Any]]
    rate: int | None


class Learned(NamedTuple):
    """The observed calls of all tools.

    Attributes:
        tools: The tools, by agent and name.
        left_out: Calls with a dangerous finding, by agent and tool.
    """

    tools: list[LearnedTool]
    left_out: dict[tuple[str, str], int]


def learn(calls: Iterable[CallFacts]) -> Learned:
    """Returns the common conditions of the tool calls among the facts, by agent and tool.

    Args:
        calls: Facts of calls, in any order.
    """
    groups: defaultdict[tuple[str, str], list[CallFacts]] = defaultdict(list)
    left_out: Counter[tuple[str, str]] = Counter()
    for facts in calls:
        if not facts.tool:
            continue
        key = facts.agent, facts.full_tool
        if any(SEVERITY_NUMBER[one.severity] >= SEVERITY_NUMBER["high"] for one in facts.findings):
            left_out[key] += 1
        else:
            groups[key].append(facts)
    tools = [
        LearnedTool(
            agent,
            tool,
            len(group),
            len({facts.session or facts.trace for facts in group}),
            _arguments(group),
            _rate(group),
        )
        for (agent, tool), group in sorted(groups.items())
    ]
    return Learned(tools, dict(left_out))


def to_yaml(learned: Learned) -> str:
    """The learned policy as a YAML document with the counts as comments."""
    agents = sorted({tool.agent for tool in learned.tools})
    lines = ["# Learned from observed calls: review each rule before you enforce it.", "default: allow"]
    if named := [agent for agent in agents if agent]:
        lines.append("agents:")
        lines += [f"  {_quoted(agent)}: {{default: deny}}" for agent in named]
    if "" in agents:
        lines[1] = "default: deny"
    lines.append("rules:")
    for number, tool in enumerate(learned.tools, 1):
        # Beside rules of agents, one without an agent would allow its tool to each of them.
        lines += _rule_lines(number, tool, is_among_agents=bool(named))
    for (agent, name), count in sorted(learned.left_out.items()):
        of = f" of agent {agent}" if agent else ""
        lines.append(f"# Left out: {count} {'call' if count == 1 else 'calls'} of {name}{of} with a dangerous finding.")
    return "\n".join(lines) + "\n"


def _rule_lines(number: int, tool: LearnedTool, *, is_among_agents: bool) -> list[str]:
    name = re.sub(r"[^\w.-]+", "-", f"{tool.agent}.{tool.tool}" if tool.agent else tool.tool)[:60]
    agent = [f"    agent: {_quoted(tool.agent)}"] if tool.agent or is_among_agents else []
    counts = f"{tool.calls} {'call' if tool.calls == 1 else 'calls'}"
    counts += f" in {tool.sessions} {'session' if tool.sessions == 1 else 'sessions'}"
    lines = [f"  - id: allow-{number}-{name}  # {counts}", *agent, f"    tool: {_quoted(tool.tool)}"]
    if tool.arguments:
        lines.append("    arguments:")
        lines += [f"      {_quoted(key)}: {json.dumps(value)}" for key, value in tool.arguments.items()]
    lines.append("    action: allow")
    if tool.rate is not None:
        lines += [f"  - id: rate-{number}-{name}", *agent, f"    tool: {_quoted(tool.tool)}"]
        lines += [f"    rate: {{limit: {tool.rate}, per: minute, by: session}}  # 99th percentile", "    action: ask"]
    return lines


def _arguments(group: list[CallFacts]) -> dict[str, dict[str, Any]]:
    values: defaultdict[str, list[ArgumentFact]] = defaultdict(list)
    given: Counter[str] = Counter()
    for facts in group:
        names = {re.split(r"[.\[]", one.name, maxsplit=1)[0] for one in facts.arguments}
        given.update(names)
        for one in facts.arguments:
            values[re.split(r"[.\[]", one.name, maxsplit=1)[0]].append(one)
    learned: dict[str, dict[str, Any]] = {}
    for name, found in sorted(values.items()):
        # A condition of an allow rule fits no call without the argument, so it must have been there each time.
        condition = _condition(found) if name and given[name] == len(group) else None
        if condition:
            learned[name] = condition
    return learned


def _condition(found: list[ArgumentFact]) -> dict[str, Any] | None:
    if all(one.hosts for one in found):
        hosts = sorted({host for one in found for host in one.hosts})
        return {"host": hosts} if len(hosts) <= _MAX_HOSTS else _suffixes(hosts)
    if all(one.folder and one.folder != "." for one in found):
        folders = _folders({one.folder for one in found})
        return {"path": folders} if folders else None
    if all(one.kind == "number" and one.number is not None for one in found) and len(found) >= _MIN_CALLS:
        numbers = [one.number for one in found if one.number is not None]
        return {"min": min(numbers), "max": max(numbers)}
    return None


def _suffixes(hosts: list[str]) -> dict[str, Any] | None:
    """The parent domains of many hosts, where they are few; a top-level domain is none."""
    parents = sorted({"*." + ".".join(host.split(".")[-2:]) for host in hosts if host.count(".") > 1})
    bare = sorted(host for host in hosts if host.count(".") <= 1)
    return {"host": parents + bare} if 0 < len(parents) + len(bare) <= _MAX_HOSTS else None


def _folders(folders: set[str]) -> list[str] | None:
    """At most `_MAX_FOLDERS` folders that hold all of them; ``None`` where only the root would."""
    kept = sorted(folders)
    while True:
        kept = [one for one in kept if not any(one != other and _is_below(one, other) for other in kept)]
        if len(kept) <= _MAX_FOLDERS:
            return kept if not {"/", ".", ""} & set(kept) else None
        deepest = max(kept, key=lambda one: one.count("/"))
        kept = sorted({posixpath.dirname(one) if one == deepest else one for one in kept})


def _is_below(one: str, other: str) -> bool:
    return other == "/" or one.startswith(f"{other}/")


def _rate(group: list[CallFacts]) -> int | None:
    if len(group) < _MIN_CALLS:
        return None
    by_session: defaultdict[str, list[int]] = defaultdict(list)
    for facts in group:
        by_session[facts.session or facts.trace].append(facts.time_ns)
    counts: list[int] = []
    for times in by_session.values():
        times.sort()
        first = 0
        for number, time_ns in enumerate(times):
            while times[first] <= time_ns - _MINUTE_NS:
                first += 1
            counts.append(number - first + 1)
    counts.sort()
    return counts[min(len(counts) - 1, len(counts) * 99 // 100)]


def _quoted(text: str) -> str:
    """A text as a YAML scalar that reads back as the same text."""
    return text if re.fullmatch(r"[A-Za-z_][\w/-]*", text) and text.lower() not in _WORDS_OF_YAML else json.dumps(text)


_WORDS_OF_YAML: Final = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
