"""Output of commands: JSON for programs, tables and lines for people, everything escaped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from cylestio_monitor.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import msgspec
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

T = TypeVar("T", bound="msgspec.Struct")

STYLES = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "cyan",
    "dangerous": "red",
    "suspicious": "yellow",
}
"""Colours of severities and alert levels; where a terminal has no colour the word says it."""

_PROSE = 24  # columns that a text which is wrapped needs

CELL = 400
"""Longest text of one cell, in characters."""


def as_json(value: Any, *, lines: bool = False) -> None:
    """Prints one JSON document, or with `lines` one line of many; ASCII only, so it holds no control character."""
    click.echo(encoded(value, lines=lines), nl=False)


def encoded(value: Any, *, lines: bool = False) -> str:
    """Returns one JSON document, or one line of many, with its line end; ASCII without control characters."""
    text = json.dumps(value, ensure_ascii=True, indent=None if lines else 2, default=str)
    return text.replace("\x7f", "\\u007f") + "\n"


def say(text: str) -> None:
    """Prints one line for people."""
    click.echo(printable(text))


def hint(text: str) -> None:
    """Prints one line beside the answer, to standard error, so that what is piped on stays clean."""
    click.echo(printable(text), err=True)


def console() -> Console:
    """A console that interprets nothing in what it is given: no markup, no emoji names, no guessed highlights."""
    from rich.console import Console  # noqa: PLC0415 -- 40 ms that a JSON answer does not need

    width = None if _is_terminal() else 160
    return Console(highlight=False, markup=False, emoji=False, width=width)


def cell(text: object, style: str = "", limit: int = CELL) -> Text:
    """One piece of a table or tree: escaped, cut, never interpreted as markup."""
    from rich.text import Text  # noqa: PLC0415 -- imported on use

    return Text(printable("" if text is None else text, limit), style)


def level(name: str) -> Text:
    """A severity or an alert level in its colour."""
    return cell(name, STYLES.get(name.strip(), ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """A plain table.

    Args:
        columns: Names. One that ends in ``#`` holds numbers and is set to the right. One that ends in ``~`` holds
            prose: it is wrapped first, so that the ids in the other columns stay whole and can be copied.
        rows: Texts and values, one per column.
        title: The title.
    """
    from rich.table import Table  # noqa: PLC0415 -- imported on use
    from rich.text import Text  # noqa: PLC0415 -- imported on use

    made = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    has_prose = any(name.endswith("~") for name in columns)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name.endswith("#") else "left"
        is_whole = has_prose and not name.endswith("~")
        made.add_column(name.rstrip("#~"), justify=justify, overflow="fold", no_wrap=is_whole)
    for row in rows:
        made.add_row(*(item if isinstance(item, Text) else cell(item) for item in row))
    return made


def fitted(columns: Sequence[tuple[str, int]], rows: Iterable[Sequence[object]]) -> Table:
    """A table that fits the width of the terminal: the least important columns are left out.

    Args:
        columns: Name and rank of each column; a column of rank 0 is always shown, the highest rank goes first. A name
            that ends in ``#`` is set to the right; one that ends in ``~`` is wrapped instead of left out.
        rows: Texts and values, one per column.
    """
    from rich.text import Text  # noqa: PLC0415 -- 40 ms that a JSON answer does not need

    body = [[item if isinstance(item, Text) else cell(item) for item in row] for row in rows]
    shown = list(range(len(columns)))
    # A column without any value says nothing.
    shown = [n for n in shown if columns[n][1] == 0 or any(row[n].plain not in {"", "-"} for row in body)]
    widths = [max([len(name.rstrip("#~")), *(row[n].cell_len for row in body)]) for n, (name, _) in enumerate(columns)]
    widths = [min(width, _PROSE) if columns[n][0].endswith("~") else width for n, width in enumerate(widths)]
    room = console().width
    while sum(widths[n] + 2 for n in shown) - 2 > room:
        worst = max(shown, key=lambda n: columns[n][1])
        if columns[worst][1] == 0:
            break
        shown.remove(worst)
    return table([columns[n][0] for n in shown], ([row[n] for n in shown] for row in body))


def listing(
    rows: Sequence[T],
    *,
    as_json: bool,
    empty: str,
    columns: Sequence[tuple[str, int]],
    cells: Callable[[T], Sequence[object]],
) -> None:
    """Prints rows as JSON lines, or as a table that fits the terminal.

    Args:
        rows: Structs.
        as_json: Whether JSON lines are asked for.
        empty: The hint where there are no rows.
        columns: As for `fitted`.
        cells: Gives the cells of a row.
    """
    if as_json:
        import msgspec  # noqa: PLC0415 -- imported on use

        for row in rows:
            click.echo(encoded(msgspec.structs.asdict(row), lines=True), nl=False)
    elif rows:
        console().print(fitted(columns, map(cells, rows)))
    else:
        hint(empty)


def _is_terminal() -> bool:
    import os  # noqa: PLC0415 -- imported on use
    import sys  # noqa: PLC0415 -- imported on use

    return sys.stdout.isatty() or "COLUMNS" in os.environ
