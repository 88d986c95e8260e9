"""The graph of agents and tools: where text comes in, which agent reads it, and what that agent can do."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from starlette.routing import Route

from cylestio_monitor.store.read import definitions, totals
from cylestio_monitor.web import filters, view
from cylestio_monitor.web.pages.tool.effects import ToolEffects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from cylestio_monitor.store.read.totals import AgentToolUse, CarriedValues

_ROWS: Final = 250
_MOST_NODES: Final = 16  # of one column
_WIDTH: Final = 1100
_NODE_WIDTH: Final = 260
_NODE_HEIGHT: Final = 44
_STEP: Final = 60  # from the top of a node to that of the next one
_LEFT: Final = {"source": 0, "agent": (_WIDTH - _NODE_WIDTH) // 2, "action": _WIDTH - _NODE_WIDTH}


class GraphNode(NamedTuple):
    """An agent or a tool.

    Attributes:
        column: ``source``, ``agent`` or ``action``.
        name: Its name; empty for calls that name no agent.
        calls: Calls of the tool, or by the agent.
        alert: ``dangerous``, ``suspicious`` or ``none``: the worst of these calls.
        link: Address of its page.
        x: Of its left edge, in units of the picture.
        y: Of its top edge, in units of the picture.
    """

    column: str
    name: str
    calls: int
    alert: str
    link: str
    x: int
    y: int


class GraphEdge(NamedTuple):
    """The calls of one tool by one agent.

    Attributes:
        use: The calls.
        effect: ``reads``, ``fetches`` or ``acts``.
        alert: ``dangerous``, ``suspicious`` or ``none``.
        carried: Values of the tool's results that later calls of the agent used.
        path: The curve, as SVG writes it; empty where one of its ends is not drawn.
        width: Of the curve.
    """

    use: AgentToolUse
    effect: str
    alert: str
    carried: int
    path: str
    width: float


def graph(request: Request) -> Response:
    """The picture, and the same as a table."""
    chosen = filters.read(request, ["since", "agent"], {"since": "7d"})
    period = filters.period_of(chosen)
    since_ns, agent = time.time_ns() - filters.PERIODS_NS[period], chosen.get("agent")
    with view.reading(request) as connection:
        uses = totals.tool_uses(connection, since_ns=since_ns, agent_id=agent, limit=_ROWS)
        carried = totals.carried_values(connection, since_ns=since_ns, agent_id=agent)
        effect = ToolEffects(view.site(request).loaded, definitions.versions(connection))
    effects = {use.tool: effect(use.tool) for use in uses}
    nodes, left_out = _nodes(uses, effects)
    values: dict[str, Any] = {
        "nodes": nodes,
        "edges": _edges(uses, effects, carried, nodes),
        "left_out": left_out,
        "height": max((node.y for node in nodes), default=0) + _NODE_HEIGHT + 2,
        "width": _WIDTH,
        "node_width": _NODE_WIDTH,
        "node_height": _NODE_HEIGHT,
        "period": period,
        "periods": filters.PERIODS,
        "agent": agent,
        "filters": chosen,
        "is_cut": len(uses) == _ROWS,
    }
    return view.page(request, "tool_graph.html", values, title="Tool graph")


def _nodes(uses: Sequence[AgentToolUse], effects: Mapping[str, str]) -> tuple[list[GraphNode], int]:
    """Agents and tools in their columns, the worst and most used first, and the number of those without room."""
    found: dict[tuple[str, str], list[AgentToolUse]] = {}
    for use in uses:
        found.setdefault(("agent", use.agent_id), []).append(use)
        found.setdefault(("action" if effects[use.tool] == "acts" else "source", use.tool), []).append(use)
    ranks = sorted(
        found.items(),
        key=lambda item: (
            -sum(one.dangerous for one in item[1]),
            -sum(one.suspicious for one in item[1]),
            -sum(one.calls for one in item[1]),
            item[0],
        ),
    )
    nodes, left_out = [], 0
    for column, x in _LEFT.items():
        own = [(name, members) for (kind, name), members in ranks if kind == column]
        left_out += max(0, len(own) - _MOST_NODES)
        for place, (name, members) in enumerate(own[:_MOST_NODES]):
            calls = sum(one.calls for one in members)
            nodes.append(GraphNode(column, name, calls, _alert(members), _link(column, name), x, place * _STEP + 1))
    return _centred(nodes), left_out


def _centred(nodes: Iterable[GraphNode]) -> list[GraphNode]:
    """Moves shorter columns down to the middle of the longest."""
    by_column: dict[str, list[GraphNode]] = {}
    for node in nodes:
        by_column.setdefault(node.column, []).append(node)
    longest = max(map(len, by_column.values()), default=0)
    return [
        node._replace(y=node.y + (longest - len(column)) * _STEP // 2)
        for column in by_column.values()
        for node in column
    ]


def _edges(
    uses: Iterable[AgentToolUse],
    effects: Mapping[str, str],
    carried: Iterable[CarriedValues],
    nodes: Iterable[GraphNode],
) -> list[GraphEdge]:
    places = {("agent" if node.column == "agent" else "tool", node.name): node for node in nodes}
    values: dict[tuple[str, str], int] = {}
    for one in carried:  # the roll-up knows a tool without its server
        key = one.agent_id, one.tool.rpartition("/")[2]
        values[key] = values.get(key, 0) + one.values
    edges = []
    for use in uses:
        agent, tool = places.get(("agent", use.agent_id)), places.get(("tool", use.tool))
        count = values.get((use.agent_id, use.tool.rpartition("/")[2]), 0)
        path = "" if agent is None or tool is None else _curve(agent, tool)
        width = round(1.5 + math.log10(max(1, use.calls)), 1)
        edges.append(GraphEdge(use, effects[use.tool], _alert([use]), count, path, width))
    return edges


def _curve(agent: GraphNode, tool: GraphNode) -> str:
    """A curve from the right edge of one node to the left edge of the other."""
    left, right = (tool, agent) if tool.column == "source" else (agent, tool)
    x1, x2 = left.x + _NODE_WIDTH, right.x
    y1, y2 = left.y + _NODE_HEIGHT // 2, right.y + _NODE_HEIGHT // 2
    bend = (x2 - x1) // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def _alert(uses: Iterable[AgentToolUse]) -> str:
    members = list(uses)
    if any(one.dangerous for one in members):
        return "dangerous"
    return "suspicious" if any(one.suspicious for one in members) else "none"


def _link(column: str, name: str) -> str:
    if column == "agent":
        return f"/runs?{urlencode({'agent': name})}" if name else "/runs"
    return f"/tools/{quote(name, safe='')}"


ROUTES: Final = [Route("/tool-graph", graph)]
