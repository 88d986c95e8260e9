"""The tools that MCP servers have listed: the server of a tool, its annotations and the schema of its arguments."""

from __future__ import annotations

import threading
from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor import sanitize
from cylestio_monitor.govern.schemas import MAX_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_NAMES: Final = 4096
_MAX_SERVERS: Final = 16  # servers remembered for one name
_MAX_CHARS: Final = 128
_MAX_SCHEMAS: Final = 16 * 1024 * 1024  # bytes of all schemas that are kept, as JSON


class ListedTool(NamedTuple):
    """A tool as a server has listed it.

    Attributes:
        server: The name that the server gives itself; empty where it is not known.
        hints: Its MCP annotations.
        schema: JSON Schema of its arguments; ``None`` where there is none, or one that is too large to be kept.
    """

    server: str = ""
    hints: Mapping[str, object] = MappingProxyType({})
    schema: dict[str, Any] | None = None


class ListedTools:
    """The tools of all servers that this process has listed, bounded; the name listed longest ago goes first."""

    def __init__(self) -> None:
        """Starts with none."""
        self._tools: OrderedDict[str, dict[str, ListedTool]] = OrderedDict()
        self._sizes: dict[tuple[str, str], int] = {}
        self._left = _MAX_SCHEMAS
        self._lock = threading.Lock()

    def add(self, server: str, tools: Iterable[Mapping[str, Any]]) -> None:
        """Takes a listing.

        Args:
            server: The name of the server; without one nothing is taken.
            tools: Tool definitions as in the answer to ``tools/list``.
        """
        server = server_name(server)
        if not server:
            return
        with self._lock:
            for tool in tools:
                name, hints = tool.get("name"), tool.get("annotations")
                if not isinstance(name, str):
                    continue
                servers = self._tools.setdefault(name, {})
                if server in servers or len(servers) < _MAX_SERVERS:
                    schema = self._kept_schema(name, server, tool.get("inputSchema"))
                    servers[server] = ListedTool(server, dict(hints) if isinstance(hints, dict) else {}, schema)
                self._tools.move_to_end(name)
                if len(self._tools) > _MAX_NAMES:
                    oldest, of_servers = self._tools.popitem(last=False)
                    for one in of_servers:
                        self._left += self._sizes.pop((oldest, one), 0)

    def find(self, tool: str, server: str | None = None) -> ListedTool:
        """A tool by its name.

        Args:
            tool: Its name.
            server: The server that is called; with ``None``, the only server that has listed the name is taken.
        """
        with self._lock:
            servers = self._tools.get(tool, {})
            if server is not None:
                return servers.get(server, ListedTool(server))
            return next(iter(servers.values())) if len(servers) == 1 else ListedTool()

    def _kept_schema(self, tool: str, server: str, schema: object) -> dict[str, Any] | None:
        """The schema of a tool, if there is room for it."""
        self._left += self._sizes.pop((tool, server), 0)
        if not isinstance(schema, dict):
            return None
        try:
            size = len(msgspec.json.encode(schema))
        except Exception:  # noqa: BLE001 -- whatever a server sent: a tool without a schema is not validated
            return None
        if size > min(MAX_SCHEMA, self._left):
            return None
        self._sizes[tool, server] = size
        self._left -= size
        return schema


def server_name(given: object) -> str:
    """The name of a server as it is shown and matched: one line, at most 128 characters; empty where it has none."""
    return sanitize.clean_text(sanitize.one_line(given, _MAX_CHARS), _MAX_CHARS) if isinstance(given, str) else ""
