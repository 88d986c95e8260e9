"""The settings in force, where each was set, what is wrong with them, and what is hooked here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.routing import Route

from cylestio_monitor import config
from cylestio_monitor._version import __version__
from cylestio_monitor.config import trees
from cylestio_monitor.otel import diagnosis
from cylestio_monitor.web import view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_CONFIDENTIAL: Final = re.compile(r"(?:secret|token|password|key)$")
_GOOD: Final = frozenset({"hooked", "ready", "absent"})


def settings(request: Request) -> Response:
    """Every setting, the problems of the settings files, and the state of every SDK."""
    site = view.site(request)
    with view.reading(request):
        pass  # says so where there is no store
    loaded = site.loaded
    tree = msgspec.to_builtins(loaded.settings)
    rows = [
        {
            "key": option.key,
            "value": _shown(option.key, trees.get(tree, option.key)),
            "set_in": loaded.origin.get(option.key, "default"),
            "variable": option.env,
            "meaning": option.doc,
        }
        for option in config.options()
    ]
    values: dict[str, Any] = {
        "rows": rows,
        "changed": sum(row["set_in"] != "default" for row in rows),
        "problems": [str(problem) for problem in loaded.problems[:100]],
        "sources": [str(source) for source in loaded.sources],
        "version": __version__,
        "database": str(site.path),
        "sdks": diagnosis.survey(loaded),
        "checks": diagnosis.checks(loaded),
        "good": _GOOD,
    }
    return view.page(request, "settings.html", values, title="Settings")


def _shown(key: str, value: Any) -> str:
    """The value of a setting as text; one that is confidential is not shown."""
    if value is None or value in ([], {}, ""):
        return "-"
    if _CONFIDENTIAL.search(key):
        return "set, not shown"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


ROUTES: Final = [Route("/settings", settings)]
