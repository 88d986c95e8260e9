"""The addresses to which content and secrets may be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from urllib.parse import SplitResult

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that stand for this machine itself."""


def is_protected(url: SplitResult) -> bool:
    """Returns whether what is sent to a URL is safe on its way: by TLS, or as it does not leave this machine."""
    return url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)
