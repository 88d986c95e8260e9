"""An ASGI app behind a port of this machine."""

from contextlib import asynccontextmanager

import anyio
import uvicorn


@asynccontextmanager
async def serving(app):
    """Serves the app as long as the block lasts; gives the port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none"))
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
            await anyio.sleep(0.01)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
