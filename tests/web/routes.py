"""The routes of the pages that a browser opens, and their paths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cylestio_monitor.web import app

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUTES = sorted({route.path for page in app.PAGES for route in page.ROUTES if "GET" in route.methods} - {"/live"})
"""All but the stream of live counts."""


def path_of(route: str, ids: Mapping[str, str]) -> str:
    """The path of a route with these ids; ``a`` stands for an id that is not known."""
    return re.sub(r"{(\w+)(?::\w+)?}", lambda match: ids.get(match[1], "a"), route)
