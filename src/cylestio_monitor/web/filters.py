"""The filters of lists, as they stand in the query of an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cylestio_monitor.errors import StoreError
from cylestio_monitor.model import SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store.read import pages
from cylestio_monitor.store.read.values import parse_moment, to_ns
from cylestio_monitor.store.sqlite.usage import DAY_NS
from cylestio_monitor.web import render
from cylestio_monitor.web.view import PageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from cylestio_monitor.store.read.pages import Cursor

PERIODS: Final = {"24h": "24 h", "7d": "7 days", "30d": "30 days"}
"""Values of ``since`` that pages offer as links, and their text."""

PERIODS_NS: Final = {"24h": DAY_NS, "7d": 7 * DAY_NS, "30d": 30 * DAY_NS}
"""The length of each."""

LABELS: Final = {
    "since": "since",
    "until": "until",
    "agent": "agent",
    "session": "session",
    "user": "user",
    "tool": "tool",
    "rule": "rule",
    "category": "category",
    "severity": "severity at least",
    "action": "action",
    "status": "status",
}
"""Every filter, and its text before the value."""

_MAX_VALUE: Final = 300  # code points of a value in the query


class ListFilters(NamedTuple):
    """The filters of one request.

    Attributes:
        values: Text of each filter that is set.
        defaults: Values of filters that hold where the query has none.
        since_ns: Not before this time, in ns since the epoch.
        until_ns: Before this time, in ns since the epoch.
        min_severity: Lowest severity number, 1 to 4.
        cursor: Where the page of the list begins.
        address: Gives the address of this page with some filters changed; `None` takes one off.
    """

    values: Mapping[str, str]
    defaults: Mapping[str, str]
    since_ns: int | None
    until_ns: int | None
    min_severity: int | None
    cursor: Cursor | None
    address: Callable[..., str]

    def get(self, name: str) -> str | None:
        """The text of a filter; `None` where it is not set."""
        return self.values.get(name)

    def chosen(self) -> list[dict[str, str]]:
        """The filters that are set, each with the address of the page without it."""
        return [
            {"name": name, "label": LABELS[name], "value": value, "without": self._without([name])}
            for name, value in self.values.items()
        ]

    @property
    def is_given(self) -> bool:
        """True where a filter differs from its default."""
        return dict(self.values) != dict(self.defaults)

    def without_all(self) -> str:
        """The address of the page without filters."""
        return self._without(list(LABELS))

    def _without(self, names: Sequence[str]) -> str:
        """Returns the address without filters; one with a default has to be told not to hold."""
        return self.address(**{name: "all" if name in self.defaults else None for name in names}, at=None)


def read(request: Request, names: Sequence[str], defaults: Mapping[str, str] | None = None) -> ListFilters:
    """The filters of a request.

    Args:
        request: The request.
        names: Names of the filters that the page has, of `LABELS`.
        defaults: Values of filters that are not in the query.

    Raises:
        PageError: A value cannot be understood; the message names the filter.
    """
    query = request.query_params
    given = {name: query[name].strip() for name in names if query.get(name, "").strip()}
    for name, value in given.items():
        if len(value) > _MAX_VALUE:
            raise PageError(f"The filter {name} is longer than {_MAX_VALUE} characters.")
    values = {name: value for name, value in {**(defaults or {}), **given}.items() if value != "all"}
    severity = values.get("severity")
    if severity is not None and severity not in SEVERITIES[1:]:
        raise PageError(f"The filter severity is one of {', '.join(SEVERITIES[1:])}.")
    kept = {name: query[name] for name in (*names, "at") if query.get(name)}
    return ListFilters(
        values=values,
        defaults=dict(defaults or {}),
        since_ns=_moment("since", values),
        until_ns=_moment("until", values),
        min_severity=None if severity is None else SEVERITY_NUMBER[severity],
        cursor=_cursor(query.get("at")),
        address=render.addresses(request.url.path, kept),
    )


def period_of(filters: ListFilters) -> str:
    """The value of ``since`` on a page that shows one of `PERIODS`; a week where the query has none.

    Raises:
        PageError: It is another period.
    """
    period = filters.get("since") or "7d"
    if period not in PERIODS_NS:
        raise PageError(f"The filter since is one of {', '.join(PERIODS_NS)} here.")
    return period


def paging(page: pages.Page[Any], filters: ListFilters) -> dict[str, str | None]:
    """The addresses of the pages beside one page of a list: ``newer`` and ``older``."""
    return {
        "newer": filters.address(at=page.previous.text()) if page.previous else None,
        "older": filters.address(at=page.next.text()) if page.next else None,
    }


def _moment(name: str, values: Mapping[str, str]) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        return to_ns(parse_moment(text))
    except ValueError as error:
        raise PageError(f"The filter {name}: {error}.") from error


def _cursor(text: str | None) -> Cursor | None:
    if not text:
        return None
    try:
        return pages.parse_cursor(text)
    except StoreError as error:
        raise PageError("The address names no place in this list. Begin with the first page.") from error
