"""Hooks of the plain HTTP clients, by the module that is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cylestio_monitor.capture.sdks.plain_http import aiohttp_hooks, httpx_hooks, urllib3_hooks

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches

_PATCH = {
    "httpx": httpx_hooks.patch,
    "httpx2": httpx_hooks.patch,
    "urllib3": urllib3_hooks.patch,
    "aiohttp": aiohttp_hooks.patch,
}


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the one method through which a client makes every request; `requests` makes its own through urllib3."""
    _PATCH[module.__name__.partition(".")[0]](module, patches)
