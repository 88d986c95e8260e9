"""A moderator that asks a hosted service in the wire format of OpenAI's moderations API."""

from __future__ import annotations

import http.client
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from cylestio_monitor.config.transport import is_protected
from cylestio_monitor.detect.model import Moderation
from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from cylestio_monitor import config
    from cylestio_monitor.model import Subtype, Target

_TIMEOUT_S: Final = 30.0
_MAX_ANSWER: Final = 1_048_576


class _TextResult(msgspec.Struct):
    """One entry of ``results``."""

    flagged: bool
    categories: dict[str, bool | None] = {}
    category_scores: dict[str, float | None] = {}


class _Answer(msgspec.Struct):
    """The body of the answer."""

    results: list[_TextResult]


class OpenAIModerator:
    """Posts each text to ``<url>/moderations``; a flagged one is denied."""

    def __init__(self, settings: config.ModerationSettings) -> None:
        """Reads address and key.

        Raises:
            ConfigError: The address is not protected, or the variable holds no key.
        """
        parts = urlsplit(settings.url)
        if not parts.hostname or not is_protected(parts):
            raise ConfigError("needs `https`, or `http` on loopback", source="settings", key="moderation.url")
        key = os.environ.get(settings.key, "").strip()
        if not key:
            raise ConfigError(f"the variable {settings.key} holds no key", source="settings", key="moderation.key")
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in {settings.key} is no header", source="settings", key="moderation.key")
        self._parts = parts
        self._model = settings.service_model
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __call__(self, text: str, *, target: Target, subtype: Subtype) -> Moderation:  # noqa: ARG002 -- the interface
        """Asks the service.

        Raises:
            OSError: The service did not answer.
            ValueError: The answer is another than the format has.
        """
        body = msgspec.json.encode({"model": self._model, "input": text.encode("utf-8", "replace").decode()})
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=_TIMEOUT_S)
        try:
            # `http.client` follows no redirect, so that neither key nor text reach another host.
            connection.request("POST", f"{self._parts.path.rstrip('/')}/moderations", body, self._headers)
            answer = connection.getresponse()
            given = answer.read(_MAX_ANSWER)
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise ValueError(f"the moderation service answered HTTP {answer.status}")
        return _moderation(msgspec.json.decode(given, type=_Answer).results)


def _moderation(results: list[_TextResult]) -> Moderation:
    if not results:
        raise ValueError("the moderation service answered without a result")
    flagged = [result for result in results if result.flagged]
    categories = sorted({name for result in flagged for name, is_found in result.categories.items() if is_found})
    scores = [score for result in results for score in result.category_scores.values() if score is not None]
    return Moderation("deny" if flagged else "allow", tuple(categories), max(scores, default=None))
