"""Names the user of each web request, so that every call made for it carries user, roles and session."""

from __future__ import annotations

import asyncio
from typing import Any

from cylestio_monitor import (
    ASGIMiddleware,
    Identity,
    IncomingRequest,
    log_event,
    start_monitoring,
    stop_monitoring,
)

TOKENS = {"t-1": Identity(user_id="ada", roles=("admin",)), "t-2": Identity(user_id="bob")}


async def identify_request(request: IncomingRequest) -> Identity | None:
    """Returns who makes the request. Your own check of a token or a session stands here."""
    return TOKENS.get(request.headers.get("authorization", "").removeprefix("Bearer "))


async def application(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Stands for your Starlette, FastAPI or Django application."""
    log_event("request_served", {"path": scope["path"]}, channel="WEB")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello"})


async def main(app: Any) -> None:
    """Makes a request as a server does."""

    async def send(message: dict[str, Any]) -> None:
        print(message)

    headers = [(b"authorization", b"Bearer t-1")]
    await app({"type": "http", "method": "GET", "path": "/orders", "headers": headers}, None, send)


if __name__ == "__main__":
    start_monitoring("support-agent")
    asyncio.run(main(ASGIMiddleware(application, identify_request)))
    stop_monitoring()
