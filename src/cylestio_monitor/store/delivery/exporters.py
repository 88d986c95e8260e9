"""The official OTLP exporters by the name they are registered under, configured by the standard variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.util._importlib_metadata import entry_points

from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping


def build(names: Mapping[str, str]) -> dict[str, Any]:
    """One exporter a signal.

    Args:
        names: Signal (``traces``, ``logs``, ``metrics``) to the exporter's registered name, such as
            ``otlp_proto_http``.

    Raises:
        StoreError: There is no such exporter, or it cannot be made as the variables say.
    """
    made = {}
    for signal, name in names.items():
        found = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=name)), None)
        if found is None:
            raise StoreError(f"there is no exporter {name} for {signal}")
        try:
            made[signal] = found.load()()
        except Exception as error:
            # Its own text may hold the headers, and they may hold a password.
            raise StoreError(f"the exporter {name} for {signal} cannot be made: {type(error).__name__}") from error
    return made
