"""SDKs that Stainless generates, such as groq, cerebras-cloud-sdk, together and llama-api-client.

They are recognised by the shape of their module `_base_client`, so that a new one is observed without a module of its
own. Their endpoints are recognised by path, as those of a plain HTTP client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.http_client import sdk_client
from cylestio_monitor.capture.sdks.anthropic import endpoints as anthropic
from cylestio_monitor.capture.sdks.openai import endpoints as openai
from cylestio_monitor.capture.sdks.stainless import llama

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.http_client.endpoint import Endpoint
    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation

_OWN_MODULES = frozenset({"anthropic", "openai"})
"""SDKs of the same shape that have readers and hooks of their own."""


def applies(module: ModuleType) -> bool:
    """Tells by its shape whether a module is the base client of a generated SDK without hooks of its own."""
    if module.__name__.partition(".")[0] in _OWN_MODULES:
        return False
    clients = [getattr(module, name, None) for name in ("SyncAPIClient", "AsyncAPIClient")]
    return all(isinstance(client, type) and "request" in vars(client) for client in clients)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the clients' request methods."""
    sdk_client.patch(module, patches, GeneratedClients(module.__name__.partition(".")[0]))


class GeneratedClients:
    """The clients of one generated SDK, which makes no spans of its own.

    Attributes:
        provider: The provider where nothing else names one.
        keys: The keys of requests and answers whose values are no plain text: those of OpenAI's API.
    """

    def __init__(self, package: str) -> None:
        """Takes the name of the package."""
        self.provider = package
        self.keys = openai.CONTENT_KEYS
        self._is_llama = package == llama.PACKAGE

    def endpoint(self, method: str, url: str) -> Endpoint | None:
        """Returns the endpoint of a request."""
        verb = method.lower()
        if self._is_llama and (found := llama.endpoint(verb, url)) is not None:
            return found
        return openai.endpoint(verb, url) or anthropic.endpoint(verb, url)

    def own_trace(self, _: Any, __: Invocation) -> dict[str, Any] | None:
        """Returns ``None``: there is no span to replace."""
        return None
