"""What was scanned and reported before is remembered within bounds."""

import copy

from cylestio_monitor.inspection import ReportedFindings, SeenParts
from cylestio_monitor.model import Finding


def finding(rule, match="m"):
    return Finding(rule, "keyword", "high", "dangerous", "input", "llm", "here", 0, 1, match_hash=match)


class TestSeen:
    def test_what_was_added_is_known_with_its_mask(self):
        seen = SeenParts()
        seen.add(1, masked=True)
        seen.add(2, masked=False)
        assert [seen.get(mark) for mark in (1, 2, 3)] == [True, False, None]

    def test_it_holds_at_least_its_size_and_at_most_twice_that(self):
        seen = SeenParts(8)
        for mark in range(100):
            seen.add(mark, masked=False)
            known = [number for number in range(101) if seen_without_touching(seen, number)]
            assert min(mark + 1, 8) <= len(known) <= 16
            assert known == list(range(known[0], mark + 1))

    def test_what_is_met_again_stays(self):
        seen = SeenParts(4)
        seen.add(0, masked=True)
        for mark in range(1, 100):
            seen.add(mark, masked=False)
            assert seen.get(0) is True
        assert seen.get(50) is None


def seen_without_touching(seen, mark):
    """A look that does not count as a meeting."""
    other = SeenParts(1000)
    other.__dict__.update({name: copy.copy(value) for name, value in vars(seen).items() if name != "_lock"})
    return other.get(mark) is not None


class TestReported:
    def test_what_was_reported_in_a_trace_is_not_new_there(self):
        reported = ReportedFindings()
        reported.add(1, [finding("a"), finding("b")])
        reported.add(1, [finding("a", "other")])
        again = [finding("a"), finding("b"), finding("a", "other"), finding("b", "other"), finding("c")]
        assert reported.new(1, again) == again[3:]
        assert reported.new(2, again) == again

    def test_it_holds_so_many_traces_and_forgets_the_oldest(self):
        reported = ReportedFindings(3)
        for trace in range(5):
            reported.add(trace, [finding("a")])
            reported.add(trace, [finding("b")])
        known = [trace for trace in range(5) if not reported.new(trace, [finding("a"), finding("b")])]
        assert known == [2, 3, 4]
