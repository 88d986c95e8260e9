"""A document of headings, paragraphs, lists and tables, written as Markdown or as one printable HTML page.

All of its text is data: it may come from prompts and tools. HTML escapes it. Markdown shows it as code, where no
character has a meaning. Control characters and direction marks become spaces in both.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cylestio_monitor.sanitize import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT_BYTES: Final = 4000
_TICKS: Final = re.compile("`+")
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 14px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin-bottom: .25rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #c9d1d9; padding-bottom: .2rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #e1e5ea; }
th { white-space: nowrap; }
td { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0; }
dt { color: #57606a; } dd { margin: 0; overflow-wrap: anywhere; }
.none { color: #57606a; }
@media print { body { max-width: none; margin: 0; font-size: 11px; } tr { break-inside: avoid; }
  h2 { break-after: avoid; } thead { display: table-header-group; } a { color: inherit; } }
"""


class Link(NamedTuple):
    """A text that leads somewhere; the address is one of ours, never data."""

    text: str
    url: str


Cell: TypeAlias = "str | int | float | Link | None"


class ReportSection(NamedTuple):
    """One section.

    Attributes:
        title: Its heading.
        columns: The heads of its table; empty for pairs of name and value.
        rows: The rows.
        intro: One sentence before the rows.
        empty: The sentence where there are no rows.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    intro: str = ""
    empty: str = "None."


class Document(NamedTuple):
    """A title, a line below it, and sections."""

    title: str
    subtitle: str
    sections: Sequence[ReportSection]

    def html(self) -> str:
        """The document as one HTML page: no script, nothing loaded from anywhere, fit for print."""
        body = "\n".join(_html_section(section) for section in self.sections)
        policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_escaped(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{_escaped(self.title)}</h1>\n<p>{_escaped(self.subtitle)}</p>\n{body}\n</main>\n</body>\n</html>\n"
        )

    def markdown(self) -> str:
        """The document as Markdown with tables."""
        blocks = [f"# {_code(self.title)}", _code(self.subtitle)]
        for section in self.sections:
            blocks.append(f"## {section.title}")
            if section.intro:
                blocks.append(section.intro)
            blocks.append(_markdown_rows(section) if section.rows else section.empty)
        return "\n\n".join(blocks) + "\n"


def _html_section(section: ReportSection) -> str:
    parts = [f"<h2>{_escaped(section.title)}</h2>"]
    if section.intro:
        parts.append(f"<p>{_escaped(section.intro)}</p>")
    if not section.rows:
        parts.append(f'<p class="none">{_escaped(section.empty)}</p>')
    elif section.columns:
        heads = "".join(f'<th scope="col">{_escaped(name)}</th>' for name in section.columns)
        rows = "\n".join(
            "<tr>" + "".join(f"<td>{_html_cell(cell)}</td>" for cell in row) + "</tr>" for row in section.rows
        )
        parts.append(f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>")
    else:
        pairs = "\n".join(f"<dt>{_html_cell(row[0])}</dt><dd>{_html_cell(row[1])}</dd>" for row in section.rows)
        parts.append(f"<dl>\n{pairs}\n</dl>")
    return "\n".join(parts)


def _html_cell(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f'<a href="{html.escape(cell.url)}" rel="noreferrer">{_escaped(cell.text)}</a>'
    return _escaped(_plain(cell))


def _escaped(text: str) -> str:
    return html.escape(one_line(text, _TEXT_BYTES))


def _markdown_rows(section: ReportSection) -> str:
    columns = section.columns or ("", "")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += (f"| {' | '.join(_markdown_cell(cell) for cell in row)} |" for row in section.rows)
    return "\n".join(lines)


def _markdown_cell(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f"{_code(cell.text)} <{cell.url}>"
    # A bar would end the cell.
    return _code(_plain(cell)).replace("|", "\\|")


def _plain(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if type(cell) is int else str(cell or "")


def _code(text: str) -> str:
    """Returns a text as a code span with a longer fence than any in it."""
    shown = one_line(text, _TEXT_BYTES).strip()
    if not shown:
        return ""
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(shown)), default=0))
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}"
