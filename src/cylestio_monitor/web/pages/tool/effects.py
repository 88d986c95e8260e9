"""The effect of a tool, as the provenance of values takes it: it reads, it fetches text from outside, or it acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cylestio_monitor.govern.policy import loader
from cylestio_monitor.govern.provenance.tools import effect_of
from cylestio_monitor.store.read.values import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cylestio_monitor.config import Loaded
    from cylestio_monitor.govern.provenance.tools import Effect
    from cylestio_monitor.store.read.definitions import ToolVersionRow

_NO_KEY: Final = bytes(32)  # the catalogue of effects holds no digest


class ToolEffects:
    """Effects by the user's policy, else by the annotations of the server, else by the name."""

    def __init__(self, loaded: Loaded, versions: Iterable[ToolVersionRow]) -> None:
        """Reads the policy.

        Args:
            loaded: The settings.
            versions: Versions of definitions, the latest seen first.
        """
        policy = loader.configured(loaded, _NO_KEY)
        self._catalogue = policy.policy.document.effects if policy is not None and policy.policy is not None else None
        self._hints: dict[str, Mapping[str, object] | None] = {}
        for one in versions:
            if one.full_name not in self._hints:
                self._hints[one.full_name] = _annotations(one.definition)

    def __call__(self, name: str) -> Effect:
        """The effect of a tool.

        Args:
            name: Its name, with its server in front where it has one.
        """
        return effect_of(name, hints=self._hints.get(name), catalogue=self._catalogue)


def _annotations(definition: str) -> Mapping[str, object] | None:
    found = decoded(definition, None)
    hints = found.get("annotations") if isinstance(found, dict) else None
    return hints if isinstance(hints, dict) else None
