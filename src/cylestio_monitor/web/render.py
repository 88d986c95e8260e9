"""Jinja templates: escaping always on, undefined names are errors, and the filters that write times and numbers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import jinja2

FOLDER: Final = Path(__file__).parent
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The environment of all templates."""
    import jinja2  # noqa: PLC0415 -- part of the extra `ui`

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(iso=iso, utc=utc, duration=duration, number=number, short=short)
    return made


def page(name: str, values: Mapping[str, Any]) -> str:
    """A template as HTML."""
    return str(environment().get_template(name).render(values))


def iso(ns: int) -> str:
    """A time as ISO 8601 in UTC with milliseconds."""
    return _moment(ns).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ns // 1_000_000 % 1000:03d}Z"


def utc(ns: int) -> str:
    """A time for reading, in UTC."""
    return _moment(ns).strftime("%d %b %Y %H:%M:%S UTC")


def duration(ns: int) -> str:
    """A duration with one unit: ``42 ms``, ``2.64 s``, ``3 min 5 s``."""
    if ns < 1_000_000:
        return f"{max(ns, 0) / 1000:.0f} us"
    if ns < 1_000_000_000:
        return f"{ns / 1_000_000:.0f} ms"
    if ns < 60_000_000_000:
        return f"{ns / 1_000_000_000:.2f} s"
    minutes, seconds = divmod(ns // 1_000_000_000, 60)
    return f"{minutes} min {seconds} s"


def number(value: float | None) -> str:
    """A count: exact below ten thousand, else with ``K``, ``M`` or ``G``."""
    if value is None:
        return "-"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "K")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'K' else size):.1f} {letter}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"


def short(text: object, size: int = 80) -> str:
    """A text of at most `size` characters on one line, cut with an ellipsis, control characters replaced."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= size else line[: size - 1] + "\u2026"


def addresses(path: str, query: Mapping[str, str]) -> Callable[..., str]:
    """A function that gives the address of this page with some filters changed; ``None`` takes one off."""

    def address(**changes: object) -> str:
        merged = {**query, **{name: None if value is None else str(value) for name, value in changes.items()}}
        kept = {name: value for name, value in merged.items() if value}
        return f"{path}?{urlencode(kept)}" if kept else path

    return address


def _moment(ns: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:  # a hostile store may hold any number
        return _EPOCH
