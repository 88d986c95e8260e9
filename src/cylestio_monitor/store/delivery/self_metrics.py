"""The store's own numbers as metrics: what waits, what was sent, dropped and set aside."""

from __future__ import annotations

import sqlite3
import weakref
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Observation

from cylestio_monitor import semconv
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.read import queries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import CallbackOptions, Meter

    from cylestio_monitor.store.store import Store

_known: Final[weakref.WeakKeyDictionary[Meter, _StoreNumbers]] = weakref.WeakKeyDictionary()


def observe(meter: Meter, store: Store) -> None:
    """Reports the store's numbers through a meter, once a meter: a later store takes the place of the earlier one.

    Args:
        meter: Where the instruments are made.
        store: Whose numbers they show.
    """
    source = _known.get(meter)
    if source is not None:
        source.store = weakref.ref(store)
        return
    source = _known[meter] = _StoreNumbers(store)
    meter.create_observable_up_down_counter(
        semconv.METRIC_DELIVERY_QUEUED, [source.queued], "{record}", "Records that wait to be sent."
    )
    for name, callback, meaning in (
        (semconv.METRIC_DELIVERY_SENT, source.sent, "Records that a collector took."),
        (semconv.METRIC_DELIVERY_QUARANTINED, source.quarantined, "Records that a collector refused."),
        (semconv.METRIC_DELIVERY_DROPPED, source.dropped, "Records that were lost, by reason."),
    ):
        meter.create_observable_counter(name, [callback], "{record}", meaning)


class _StoreNumbers:
    """Reads the numbers when a reader collects; a store that is gone has none."""

    def __init__(self, store: Store) -> None:
        self.store = weakref.ref(store)

    def queued(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._by_signal("queued")

    def sent(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._counted("sent.", semconv.DELIVERY_SIGNAL)

    def quarantined(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._counted("quarantined.", semconv.DELIVERY_SIGNAL)

    def dropped(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._counted("dropped.", semconv.ERROR_TYPE)

    def _by_signal(self, name: str) -> list[Observation]:
        delivery = self._status().get("delivery", {})
        return [Observation(numbers[name], {semconv.DELIVERY_SIGNAL: key}) for key, numbers in delivery.items()]

    def _counted(self, prefix: str, label: str) -> list[Observation]:
        counters = self._status().get("counters", {})
        return [
            Observation(number, {label: name.removeprefix(prefix)})
            for name, number in counters.items()
            if name.startswith(prefix)
        ]

    def _status(self) -> dict[str, Any]:
        store = self.store()
        if store is None or store.closed:
            return {}
        try:
            with queries.connect(store.path) as connection:
                return queries.delivery(connection)
        except (sqlite3.Error, StoreError):
            return {}
