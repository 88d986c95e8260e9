"""The geometry of bar charts, as attributes of SVG elements; looks stand in the style sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOP: Final = 10.0
_LEFT: Final = 6.0  # percent of the width that the axis takes


class ChartBar(NamedTuple):
    """One rectangle. `x` and `width` are in percent of the chart, `y` and `height` in its units."""

    x: float
    y: float
    width: float
    height: float
    kind: str


class ChartLabel(NamedTuple):
    """A text below a column, in the units of `ChartBar`."""

    x: float
    text: str


class ChartLine(NamedTuple):
    """A line of the axis at a value."""

    y: float
    value: int


class BarChart(NamedTuple):
    """Bars, the labels below them, and the lines of the axis.

    Attributes:
        bars: The rectangles.
        labels: The texts below.
        lines: The lines behind.
        floor: Where the bars stand.
        left: Where they begin, in percent.
    """

    bars: list[ChartBar]
    labels: list[ChartLabel]
    lines: list[ChartLine]
    floor: float
    left: float


def stacked(columns: Sequence[tuple[str, Sequence[tuple[str, int]]]], height: float = 146.0) -> BarChart:
    """A chart of columns that stand on each other.

    Args:
        columns: Label (empty for none) and parts of each column: kind and number, the lowest first.
        height: Where the bars stand, in the units of the chart.
    """
    highest = _rounded(max((sum(number for _, number in parts) for _, parts in columns), default=0))
    step = (100.0 - _LEFT) / max(1, len(columns))
    bars, labels = [], []
    for place, (label, parts) in enumerate(columns):
        x, y = _LEFT + place * step, height
        for kind, number in parts:
            if number:
                size = (height - _TOP) * number / highest
                y -= size
                bars.append(
                    ChartBar(round(x, 2), round(y, 1), round(step * 0.75, 2), round(max(1.0, size - 1), 1), kind)
                )
        if label:
            labels.append(ChartLabel(round(x, 2), label))
    lines = [ChartLine(round(height - (height - _TOP) * part / 2, 1), highest * part // 2) for part in (0, 1, 2)]
    return BarChart(bars, labels, lines if highest > 1 else [lines[0], lines[2]], height, _LEFT)


def _rounded(highest: int) -> int:
    """Returns an even number that a column of this height fits below: 2, 4, 10, 20, 40, 100 and so on."""
    size = 1
    while True:
        for factor in (2, 4, 10):
            if highest <= factor * size:
                return factor * size
        size *= 10
