"""The overview: what needs a person now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from cylestio_monitor.web import view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def overview(request: Request) -> Response:
    """Shows what needs a person now, the trend, the state of the system, and the agents."""
    with view.reading(request):
        pass
    return view.page(request, "overview.html", {}, title="Overview")


ROUTES: Final = [Route("/", overview)]
