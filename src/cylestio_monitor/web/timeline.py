"""The spans of a run as rows of a timeline: what matters one by one, equal siblings folded into one row."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from cylestio_monitor import semconv
from cylestio_monitor.store.sqlite.rows import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cylestio_monitor.store.read.lists import SpanSummary

ROWS: Final = 250
"""Rows of one page."""

UNFOLDED: Final = 200
"""Spans up to which nothing is folded."""

ROOT: Final = "root"
"""Stands for the parent of the spans that have none."""

_COLUMNS: Final = 500  # columns of the map of the whole run
_STRIP: Final = 100  # bars of a folded row
_DEEPEST: Final = 8  # indentation that is drawn
_TICKS: Final = 10
_NARROWEST: Final = 0.2  # per cent of the width

Lane = Literal["model", "tool", "other"]


class Bar(NamedTuple):
    """A bar, in per cent of the window."""

    x: float
    width: float


class TimelineRow(NamedTuple):
    """One row: a span, or equal siblings.

    Attributes:
        span: The span; the first one of a folded row.
        lane: ``model``, ``tool`` or ``other``.
        depth: Indentation, 0 to 8.
        bars: Its bars; none outside the window.
        size: Spans in the row.
        below: Spans below it, on all levels.
        is_open: Whether the spans below it have rows.
        findings: Findings of the row's spans.
        total_ns: Duration; the sum of a folded row.
        median_ns: Median duration of a folded row.
        slowest_ns: Longest duration of a folded row.
        parent: Id of the parent that lists a folded row one by one; `ROOT` for none.
        is_dimmed: Whether the row only leads to one that fits the filter.
        is_skewed: Whether the span ends before it begins or begins before its parent.
        is_orphan: Whether its parent is not stored.
    """

    span: SpanSummary
    lane: Lane
    depth: int
    bars: list[Bar]
    size: int = 1
    below: int = 0
    is_open: bool = False
    findings: int = 0
    total_ns: int = 0
    median_ns: int = 0
    slowest_ns: int = 0
    parent: str = ROOT
    is_dimmed: bool = False
    is_skewed: bool = False
    is_orphan: bool = False


def lane_of(span: SpanSummary) -> Lane:
    """The lane of a span."""
    if span.operation in semconv.INFERENCE or (span.operation is None and span.model):
        return "model"
    return "tool" if span.tool else "other"


FILTERS: Final[Mapping[str, Callable[[SpanSummary], bool]]] = {
    "findings": lambda span: span.severity_number > 0,
    "model": lambda span: lane_of(span) == "model",
    "tool": lambda span: lane_of(span) == "tool",
    "failed": lambda span: span.status == FAILED,
    "refused": lambda span: span.action == "block",
}
"""Filters of the spans, by the value of ``show`` in the address."""


class Timeline:
    """The spans of one run.

    Attributes:
        begin_ns: Begin of the window, in ns since the epoch.
        length_ns: Length of the window, at least 1.
        counts: Spans that fit each filter.
    """

    def __init__(self, spans: Sequence[SpanSummary], findings: Mapping[str, int], *, zoom: bool = False) -> None:
        """Finds the tree. Spans that name each other as parents are roots.

        Args:
            spans: All spans of the run, by start.
            findings: Number of findings of each span.
            zoom: Whether the window is that of the spans with findings.
        """
        self._spans = spans
        self._findings = findings
        self._by_id = {span.span_id: span for span in spans}
        self._children: dict[str, list[SpanSummary]] = defaultdict(list)
        for span in spans:
            parent = span.parent_span_id or ""
            self._children[parent if parent in self._by_id and parent != span.span_id else ROOT].append(span)
        self._open_circles()
        self._below = self._sizes()
        self.counts = {name: sum(map(fits, spans)) for name, fits in FILTERS.items()}
        flagged = [span for span in spans if FILTERS["findings"](span)]
        window = flagged if zoom and flagged else spans
        self.begin_ns = min((span.start_ns for span in window), default=0)
        end_ns = max((max(span.end_ns, span.start_ns) for span in window), default=0)
        self.length_ns = max(1, end_ns - self.begin_ns)
        if zoom and flagged:
            self.begin_ns -= self.length_ns // 20
            self.length_ns += self.length_ns // 10

    def rows(self, *, opened: frozenset[str] = frozenset(), show: str = "", text: str = "") -> list[TimelineRow]:
        """All rows, in the order of the tree.

        Args:
            opened: Spans whose children are listed one by one.
            show: A key of `FILTERS`; spans that do not fit have no row, but for their ancestors.
            text: A part of the name, upper or lower case; the same.
        """
        if show in FILTERS or text:
            fits = FILTERS.get(show)
            named = [span for span in self._spans if text.lower() in span.name.lower()]
            wanted = {span.span_id for span in named if fits is None or fits(span)}
            kept = wanted | self._ancestors(wanted)
            return [
                self._single(span, depth, is_open=True, is_dimmed=span.span_id not in wanted)
                for span, depth in self._walk(kept.__contains__, kept.__contains__)
            ]
        if len(self._spans) <= UNFOLDED:
            return [self._single(span, depth, is_open=True) for span, depth in self._walk(_always, _always)]
        return self._folded(opened)

    def map(self) -> dict[str, list[Bar]]:
        """The whole run in four lanes of merged bars: ``other``, ``model``, ``tool`` and ``findings``."""
        begin = min((span.start_ns for span in self._spans), default=0)
        length = max(1, max((span.end_ns for span in self._spans), default=0) - begin)
        columns: dict[str, set[int]] = {"other": set(), "model": set(), "tool": set(), "findings": set()}
        for span in self._spans:
            first = min(_COLUMNS - 1, max(0, (span.start_ns - begin) * _COLUMNS // length))
            last = min(_COLUMNS - 1, max(first, (span.end_ns - begin) * _COLUMNS // length))
            taken = range(first, last + 1)
            columns[lane_of(span)].update(taken)
            if span.severity_number > 0:
                columns["findings"].update(taken if lane_of(span) != "other" else (first,))
        return {lane: _merged(taken) for lane, taken in columns.items()}

    def _folded(self, opened: frozenset[str]) -> list[TimelineRow]:
        shown = self._important(opened)
        expanded = self._ancestors(shown) | (opened & self._by_id.keys())
        rows: list[TimelineRow] = []
        waiting: list[tuple[SpanSummary | list[SpanSummary], int, str]] = []

        def add(parent: str, depth: int) -> None:
            children = self._children.get(parent, [])
            entries: list[SpanSummary | list[SpanSummary]] = []
            groups: dict[tuple[str, str], list[SpanSummary]] = {}
            for child in children:
                if parent in opened or child.span_id in shown or child.span_id in expanded:
                    entries.append(child)
                    continue
                key = child.name, lane_of(child)
                if key not in groups:
                    groups[key] = []
                    entries.append(groups[key])
                groups[key].append(child)
            waiting.extend((entry, depth, parent) for entry in reversed(entries))

        add(ROOT, 0)
        while waiting:
            entry, depth, parent = waiting.pop()
            if isinstance(entry, list) and len(entry) > 1:
                rows.append(self._group(entry, depth, parent))
                continue
            span = entry[0] if isinstance(entry, list) else entry
            is_open = span.span_id in expanded
            rows.append(self._single(span, depth, is_open=is_open))
            if is_open:
                add(span.span_id, depth + 1)
        return rows

    def _important(self, opened: frozenset[str]) -> set[str]:
        """Spans with a row of their own: flagged, failed, refused, opened, or the slowest of their name."""
        slowest: dict[tuple[str, str], SpanSummary] = {}
        number: Counter[tuple[str, str]] = Counter()
        for span in self._spans:
            key = span.name, lane_of(span)
            number[key] += 1
            known = slowest.get(key)
            if known is None or span.end_ns - span.start_ns > known.end_ns - known.start_ns:
                slowest[key] = span
        # Names that are all different are no kinds: the slowest of each would be every span.
        kinds = [span for key, span in slowest.items() if number[key] > 1][:20]
        matters = (name for name in ("findings", "failed", "refused"))
        tests = [FILTERS[name] for name in matters]
        important = [span.span_id for span in self._spans if any(test(span) for test in tests)]
        return {*important[: 4 * ROWS], *(span.span_id for span in kinds), *(opened & self._by_id.keys())}

    def _single(self, span: SpanSummary, depth: int, *, is_open: bool, is_dimmed: bool = False) -> TimelineRow:
        parent = self._by_id.get(span.parent_span_id or "")
        return TimelineRow(
            span,
            lane_of(span),
            min(depth, _DEEPEST),
            self._bars([span]),
            below=self._below.get(span.span_id, 0),
            is_open=is_open,
            findings=self._findings.get(span.span_id, 0),
            total_ns=max(0, span.end_ns - span.start_ns),
            is_dimmed=is_dimmed,
            is_skewed=span.end_ns < span.start_ns or (parent is not None and span.start_ns < parent.start_ns),
            is_orphan=bool(span.parent_span_id) and parent is None,
        )

    def _group(self, spans: list[SpanSummary], depth: int, parent: str) -> TimelineRow:
        durations = sorted(max(0, span.end_ns - span.start_ns) for span in spans)
        return TimelineRow(
            spans[0],
            lane_of(spans[0]),
            min(depth, _DEEPEST),
            self._bars(spans),
            size=len(spans),
            below=sum(self._below.get(span.span_id, 0) for span in spans),
            total_ns=sum(durations),
            median_ns=durations[len(durations) // 2],
            slowest_ns=durations[-1],
            parent=parent,
        )

    def _bars(self, spans: Iterable[SpanSummary]) -> list[Bar]:
        """The bars of spans inside the window, merged where they are too close to be told apart."""
        bars: list[Bar] = []
        for span in spans:
            start = (span.start_ns - self.begin_ns) * 100 / self.length_ns
            end = (max(span.end_ns, span.start_ns) - self.begin_ns) * 100 / self.length_ns
            if end < 0 or start > 100:
                continue
            x = max(0.0, min(start, 100 - _NARROWEST))
            width = max(_NARROWEST, min(end, 100.0) - x)
            if bars and x - (bars[-1].x + bars[-1].width) < 100 / _STRIP / 4 and x >= bars[-1].x:
                bars[-1] = Bar(bars[-1].x, round(max(bars[-1].width, x + width - bars[-1].x), 3))
            else:
                bars.append(Bar(round(x, 3), round(width, 3)))
        return bars[: 2 * _STRIP]

    def _walk(
        self, is_wanted: Callable[[str], bool], is_open: Callable[[str], bool]
    ) -> Iterable[tuple[SpanSummary, int]]:
        waiting = [(span, 0) for span in reversed(self._children.get(ROOT, []))]
        while waiting:
            span, depth = waiting.pop()
            if not is_wanted(span.span_id):
                continue
            yield span, depth
            if is_open(span.span_id):
                waiting += [(child, depth + 1) for child in reversed(self._children.get(span.span_id, []))]

    def _ancestors(self, ids: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for one in ids:
            span = self._by_id.get(one)
            while span is not None and span.parent_span_id in self._by_id and span.parent_span_id not in found:
                found.add(span.parent_span_id)
                span = self._by_id[span.parent_span_id]
        return found

    def _open_circles(self) -> None:
        """Makes a root of one span of each circle: spans from elsewhere may name each other as their parents."""
        reached: set[str] = set()
        waiting = [span.span_id for span in self._children.get(ROOT, [])]
        for span in self._spans:
            while waiting:
                one = waiting.pop()
                if one not in reached:
                    reached.add(one)
                    waiting += [child.span_id for child in self._children.get(one, [])]
            if span.span_id not in reached:
                self._children[span.parent_span_id or ""].remove(span)
                self._children[ROOT].append(span)
                waiting.append(span.span_id)

    def _sizes(self) -> dict[str, int]:
        """Number of spans below each span."""
        order = [span for span, _depth in self._walk(_always, _always)]
        sizes: dict[str, int] = defaultdict(int)
        for span in reversed(order):
            sizes[span.span_id] = sum(1 + sizes[child.span_id] for child in self._children.get(span.span_id, []))
        return sizes


def ticks(length_ns: int) -> list[tuple[float, int]]:
    """Marks of the axis: pairs of per cent and nanoseconds from the begin, at most 10.

    Args:
        length_ns: Length of the window.
    """
    step = power = 1
    while length_ns > _TICKS * step:
        step = next((power * digit for digit in (1, 2, 5) if length_ns <= _TICKS * power * digit), step)
        power *= 10
    return [(round(100 * at / length_ns, 3), at) for at in range(0, length_ns, step)]


def _always(_span_id: str) -> bool:
    return True


def _merged(columns: set[int]) -> list[Bar]:
    bars: list[Bar] = []
    for column in sorted(columns):
        x = column * 100 / _COLUMNS
        if bars and abs(bars[-1].x + bars[-1].width - x) < 1e-6:
            bars[-1] = Bar(bars[-1].x, bars[-1].width + 100 / _COLUMNS)
        else:
            bars.append(Bar(x, 100 / _COLUMNS))
    return [Bar(round(bar.x, 2), round(bar.width, 2)) for bar in bars]
