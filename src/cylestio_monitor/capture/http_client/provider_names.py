"""Names the provider of a client of the Anthropic or OpenAI SDK, from its class and its base URL."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

# The client classes that each SDK has for a cloud, by the words in their names.
_BY_CLASS = {
    "Bedrock": "aws.bedrock",
    "Vertex": "gcp.vertex_ai",
    "Azure": "azure.ai.openai",
    # Anthropic's own service, reached through a cloud; its SDK says so from version 1 on.
    "AnthropicFoundry": "anthropic",
    "AnthropicAWS": "anthropic",
    "AnthropicGoogleCloud": "anthropic",
}
# Names from the GenAI conventions where they have one; else the provider's own, in the same form.
_BY_HOST = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "models.ai.azure.com": "azure.ai.inference",
    "inference.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "api.aws": "aws.bedrock",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "googleapis.com": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x_ai",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "cohere.ai": "cohere",
    "cohere.com": "cohere",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "moonshot.ai": "moonshot_ai",
    "moonshot.cn": "moonshot_ai",
    "openrouter.ai": "openrouter",
    "together.xyz": "together_ai",
    "together.ai": "together_ai",
    "fireworks.ai": "fireworks_ai",
    "cerebras.ai": "cerebras",
    "sambanova.ai": "sambanova",
    "hyperbolic.xyz": "hyperbolic",
    "novita.ai": "novita",
    "huggingface.co": "hugging_face",
    "huggingface.cloud": "hugging_face",
    "integrate.api.nvidia.com": "nvidia",
    "dashscope.aliyuncs.com": "alibaba_cloud",
    "dashscope-intl.aliyuncs.com": "alibaba_cloud",
    "bigmodel.cn": "zhipu_ai",
    "z.ai": "zhipu_ai",
    "minimax.io": "minimax",
    "ollama.com": "ollama",
}
_BY_NAME = ("ollama", "vllm", "litellm", "lmstudio", "localai", "llamafile")
"""Servers that are run by oneself, under a host that is often named after them."""
_OLLAMA_PORT = 11434


class Server(NamedTuple):
    """The other side of a client.

    Attributes:
        provider: ``gen_ai.provider.name``.
        address: Host.
        port: Port, also where the URL leaves it to the scheme.
    """

    provider: str
    address: str | None
    port: int | None


@functools.lru_cache(maxsize=64)
def server(url: Any, client: type, cloud: str | None, default: str) -> Server:
    """Returns the server that answers the requests of a client.

    Args:
        url: The base URL of the client.
        client: Its class.
        cloud: The provider that the SDK itself names for a cloud.
        default: The provider whose format the SDK speaks, for a host that is not known.
    """
    host, port = url.host, url.port
    provider = _cloud(client) or cloud or provider_of(host, port) or _package_provider(client) or default
    return Server(provider, host or None, port or (80 if url.scheme == "http" else 443))


def cloud_of(client: Any) -> str:
    """Returns the provider that an SDK itself names for a client of a cloud."""
    return str(client._gen_ai_provider_name)  # noqa: SLF001 -- the SDK has no public name for it


_BY_PACKAGE = {"groq": "groq", "cerebras": "cerebras", "together": "together_ai", "llama_api_client": "meta_llama"}
"""The providers of generated SDKs that have another name than their package."""


def _package_provider(client: type) -> str | None:
    """Returns the provider by the package of a generated SDK; ``None`` for the SDKs of Anthropic and OpenAI."""
    base = next((kind for kind in client.__mro__ if kind.__name__ in {"SyncAPIClient", "AsyncAPIClient"}), None)
    package = base.__module__.partition(".")[0] if base is not None else ""
    return None if package in {"", "openai", "anthropic"} else _BY_PACKAGE.get(package, package)


@functools.lru_cache(maxsize=256)
def _cloud(client: Any) -> str | None:
    names = [kind.__name__ for kind in client.__mro__]
    return next((provider for word, provider in _BY_CLASS.items() if any(word in name for name in names)), None)


@functools.lru_cache(maxsize=256)
def provider_of(host: str, port: int | None) -> str | None:
    """The provider behind a host, by its domain; ``None`` where nothing is known of it."""
    host = host.lower()
    labels = host.split(".")
    for start in range(len(labels)):
        provider = _BY_HOST.get(".".join(labels[start:]))
        if provider is not None:
            return provider
    if port == _OLLAMA_PORT:
        return "ollama"
    return next((name for name in _BY_NAME if any(label.startswith(name) for label in labels)), None)
