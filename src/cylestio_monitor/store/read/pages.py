"""Pages of typed rows: filters as a table of conditions, and cursors that stay valid while rows are added.

A page is found by the value of its sort column and the id of the row where it begins, never by an offset: reading the
thousandth page costs as much as the first.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

T = TypeVar("T", bound=msgspec.Struct)

MOST: Final = 10_000
"""Largest number of rows of one answer."""


OF_TRACE: Final = "run IN (SELECT id FROM run WHERE trace_id = ?)"
"""The condition for the rows of a trace, of a table with the column `run`."""


class Cursor(NamedTuple):
    """The place where a page begins.

    Attributes:
        value: The value of the sort column of the row beside it.
        key: The id of that row.
        is_backwards: Whether the page ends there instead of beginning there.
    """

    value: int | str
    key: int | str
    is_backwards: bool = False

    def text(self) -> str:
        """Returns the cursor as text for a link."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def parse_cursor(text: str) -> Cursor:
    """Returns the cursor that `Cursor.text` wrote.

    Raises:
        StoreError: The text is no cursor.
    """
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Cursor)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError("the cursor of the page is not valid") from error


class Page(msgspec.Struct, Generic[T]):
    """Some rows of a longer list.

    Attributes:
        rows: The rows, newest first.
        next: The cursor of the page with older rows; `None` on the last page.
        previous: The cursor of the page with newer rows; `None` on the first page.
    """

    rows: list[T]
    next: Cursor | None = None
    previous: Cursor | None = None


class Listing(NamedTuple):
    """One list that can be read in pages.

    Attributes:
        row: The type of its rows; the fields are the columns.
        source: Table, or joined tables.
        sort: The sort column, which is indexed.
        key: The unique column that orders rows of an equal sort value.
        filters: Condition of each filter, with one placeholder.
        columns: Expression of a field that is not the column of its name.
    """

    row: type[Any]
    source: str
    sort: str
    key: str
    filters: Mapping[str, str]
    columns: Mapping[str, str] = {}

    def select(self) -> str:
        """Returns the SELECT without conditions."""
        fields = (self.columns.get(name, f'"{name}"') for name in self.row.__struct_fields__)
        return f"SELECT {', '.join(fields)}, {self.sort}, {self.key} FROM {self.source}"  # noqa: S608 -- constants

    def rows(self, found: Iterable[Iterable[Any]]) -> list[Any]:
        """Returns the typed rows of a query that begins with `select`.

        Args:
            found: The rows of the query, whose last two columns are those of a cursor.
        """
        names = self.row.__struct_fields__
        return [self.row(**dict(zip(names, row, strict=False))) for row in found]


def equal(*columns: str) -> dict[str, str]:
    """Returns filters that compare a column with their value; each has the name of its column."""
    return {column: f"{column} = ?" for column in columns}


def read_page(
    connection: sqlite3.Connection,
    listing: Listing,
    filters: Mapping[str, Any],
    *,
    cursor: Cursor | None = None,
    limit: int = 50,
) -> Page[Any]:
    """Reads one page, newest first.

    Args:
        connection: A connection that only reads.
        listing: The list.
        filters: Value of each filter; `None` does not filter.
        cursor: Where the page begins; the newest rows without it.
        limit: Largest number of rows.

    Raises:
        StoreError: The list has no such filter.
    """
    limit = max(0, min(limit, MOST))
    conditions, values = _conditions(listing, filters)
    order, compare = ("ASC", ">") if cursor is not None and cursor.is_backwards else ("DESC", "<")
    if cursor is not None:
        conditions.append(f"({listing.sort}, {listing.key}) {compare} (?, ?)")
        values += cursor[:2]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"{listing.select()} {where} ORDER BY {listing.sort} {order}, {listing.key} {order} LIMIT ?"
    found = connection.execute(query, (*values, limit + 1)).fetchall()
    has_more, found = len(found) > limit, found[:limit]
    backwards = cursor is not None and cursor.is_backwards
    if backwards:
        found.reverse()
    page: Page[Any] = Page(listing.rows(found))
    if found:
        if backwards or has_more:
            page.next = _beside(found[-1], is_backwards=False)
        if has_more if backwards else cursor is not None:
            page.previous = _beside(found[0], is_backwards=True)
    return page


def _beside(row: Any, *, is_backwards: bool) -> Cursor:
    value, key = tuple(row)[-2:]
    return Cursor(value, key, is_backwards)


def count_rows(connection: sqlite3.Connection, listing: Listing, filters: Mapping[str, Any]) -> int:
    """Counts the rows of a list up to `MOST`.

    Raises:
        StoreError: The list has no such filter.
    """
    conditions, values = _conditions(listing, filters)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT count(*) FROM (SELECT 1 FROM {listing.source} {where} LIMIT {MOST})"  # noqa: S608 -- constants
    return int(connection.execute(query, values).fetchone()[0])


def _conditions(listing: Listing, filters: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    conditions, values = [], []
    for name, value in filters.items():
        if value is None:
            continue
        if name not in listing.filters:
            raise StoreError(f"rows of {listing.source.split()[0]} cannot be filtered by {name}")
        condition = listing.filters[name]
        conditions.append(condition)
        values += [value] * condition.count("?")
    return conditions, values
