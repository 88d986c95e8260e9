"""Jinja templates: escaping always on, undefined names are errors, and the filters that write times and numbers.

Every value that a template writes passes `visible`: what the store holds was written by others, and may hold characters
that hide or reorder the text around them.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import jinja2

from cylestio_monitor.errors import counted
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.web import marks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDER: Final = Path(__file__).parent
MAX_TEXT: Final = 65_536
"""Longest text that is written of one value, in code points."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The environment of all templates."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(iso=iso, utc=utc, day_time=day_time, ago=ago, duration=duration)
    made.filters.update(number=number, money=money, short=short, quoted=quoted, counted=counted, code=code_pieces)
    made.globals.update(segments=marks.segments, severities=SEVERITIES, static=static_addresses())
    return made


def page(name: str, values: Mapping[str, Any]) -> str:
    """A template as HTML."""
    return str(environment().get_template(name).render(values))


def code_pieces(text: str) -> list[tuple[str, bool]]:
    """A sentence in pieces, and of each whether it stands between back quotes: such as a name or a value."""
    return [(piece, number % 2 == 1) for number, piece in enumerate(text.split("`")) if piece]


def visible(value: Any) -> Any:
    """A value as a template may write it: hidden characters are written as escapes, long texts are cut.

    Markup that a macro made has passed already.
    """
    if value is None:
        return ""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}\u2026"
    return text if text.isprintable() else "".join(map(_visible_character, text))


@lru_cache(maxsize=4096)
def _visible_character(character: str) -> str:
    if marks.hidden_name(character) is None:
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


@lru_cache(maxsize=1)
def static_files() -> dict[str, bytes]:
    """The files that pages load, by name."""
    return {file.name: file.read_bytes() for file in (FOLDER / "static").iterdir() if file.is_file()}


def static_addresses() -> dict[str, str]:
    """The address of each of these files; it changes with the file, so that a browser may keep it."""
    return {
        name: f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}" for name, content in static_files().items()
    }


def iso(ns: int) -> str:
    """A time as ISO 8601 in UTC with milliseconds."""
    return _moment(ns).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ns // 1_000_000 % 1000:03d}Z"


def utc(ns: int) -> str:
    """A time for reading, in UTC."""
    return _moment(ns).strftime("%d %b %Y %H:%M:%S UTC")


def day_time(ns: int) -> str:
    """A time in UTC without the year: ``27 Nov 23:14:43``."""
    return _moment(ns).strftime("%d %b %H:%M:%S")


def ago(ns: int, now_ns: int) -> str:
    """The distance of a time from now with one unit: ``48 s ago``, ``in 4 min``."""
    distance = abs(now_ns - ns) // 1_000_000_000
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if distance >= 2 * size:
            text = f"{distance // size:,} {unit}"
            break
    else:
        text = f"{distance} s"
    return f"{text} ago" if ns <= now_ns else f"in {text}"


def money(value: float) -> str:
    """A cost with two digits, below one with three that count."""
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.3g}"


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
    """A count: exact below ten thousand, else with ``K``, ``M``, ``G``, ``T`` or ``P``."""
    if value is None:
        return "-"
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "K")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'K' else size):,.1f} {letter}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"


def short(text: object, size: int = 80) -> str:
    """A text of at most `size` characters on one line, cut with an ellipsis, control characters replaced."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= size else line[: size - 1] + "\u2026"


def quoted(text: str) -> str:
    """A text as one segment of the path of an address."""
    return quote(text, safe="")


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
