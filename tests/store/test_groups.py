"""Findings of one flagged text are one group, in every call that the text is sent on with, and in every run."""

from __future__ import annotations

import pytest

from cylestio_monitor.model import Finding
from cylestio_monitor.store import triage
from cylestio_monitor.store.read import findings as finding_reads
from cylestio_monitor.store.read import lists, pages, queries
from store.filling import Bench


def finding(rule, severity, *, match="h", path="result", subtype="tool_result", target="input", start=0):
    alert = "dangerous" if severity in {"high", "critical"} else "suspicious"
    return Finding(rule, "prompt_injection", severity, alert, target, subtype, path, start, start + 5, match_hash=match)


TEXT = [finding("a.low", "low", match="1"), finding("a.top", "high", match="2", start=3)]


def groups(bench):
    bench.flush()
    with queries.connect(bench.path) as connection:
        return pages.read_page(connection, lists.GROUPS, {}).rows


def rows(bench):
    with queries.connect(bench.path) as connection:
        return finding_reads.findings(connection)


def test_the_top_rule_names_the_group_of_a_text(bench):
    bench.store.add_findings(1, 1, TEXT, operation="execute_tool", tool="git_log", agent_id="a")
    (group,) = groups(bench)
    assert (group.rule_id, group.source, group.severity_number, group.findings) == ("a.top", "tool:git_log", 3, 2)
    assert (group.tool, group.agent_id, group.state) == ("git_log", "a", "open")
    assert {row.group_id for row in rows(bench)} == {group.group_id}


@pytest.mark.parametrize("same_commit", [True, False])
@pytest.mark.parametrize("same_process", [True, False])
def test_a_text_that_is_sent_on_stays_in_its_group(bench, same_commit, same_process):
    bench.store.add_findings(1, 1, TEXT, operation="execute_tool", tool="git_log")
    if not same_commit:
        bench.flush()
    if not same_process:
        bench.flush()
        bench.store._writer._groups._seen.clear()
    copies = [finding(one.rule_id, one.severity, match=one.match_hash, path="messages[2]") for one in TEXT]
    bench.store.add_findings(1, 2, copies, operation="chat", model="m")
    bench.store.add_findings(1, 3, copies[:1], operation="chat", model="m")
    (group,) = groups(bench)
    assert group.findings == 5


def test_the_same_text_in_another_run_is_the_same_group(bench):
    for trace in (1, 2, 3):
        bench.store.add_findings(trace, 1, TEXT, operation="execute_tool", tool="git_log")
    (group,) = groups(bench)
    assert group.findings == 6


@pytest.mark.parametrize(
    ("other", "tool"),
    [
        ([finding("b.other", "high", match="9")], "git_log"),
        ([finding("a.top", "high", match="9")], "fetch"),
        ([finding("a.top", "high", match="2", target="output", subtype="tool_call")], "git_log"),
    ],
)
def test_another_rule_source_or_surface_is_another_group(bench, other, tool):
    bench.store.add_findings(1, 1, TEXT, operation="execute_tool", tool="git_log")
    bench.store.add_findings(1, 2, other, operation="execute_tool", tool=tool)
    assert len(groups(bench)) == 2


def test_a_group_has_the_same_id_in_every_process_and_another_one_in_every_deployment(bench, tmp_path):
    bench.store.add_findings(1, 1, TEXT, tool="git_log")
    (group,) = groups(bench)
    bench.close()
    again = Bench(bench.path)
    again.store.add_findings(2, 1, TEXT, tool="git_log")
    assert [one.group_id for one in groups(again)] == [group.group_id]
    again.close()
    other = Bench(tmp_path / "other" / "store.db")
    other.store.add_findings(1, 1, TEXT, tool="git_log")
    assert [one.group_id for one in groups(other)] != [group.group_id]
    other.close()


def test_a_resolved_group_opens_when_it_is_seen_again_and_a_dismissed_one_does_not(bench):
    bench.store.add_findings(1, 1, TEXT, tool="git_log")
    bench.store.add_findings(1, 2, [finding("c.x", "low", match="7")], tool="git_log")
    first, second = sorted(groups(bench), key=lambda one: one.rule_id)
    triage.set_group_state(bench.path, bench.store.settings, first.group_id, "resolved", by="p")
    triage.set_group_state(bench.path, bench.store.settings, second.group_id, "false_alarm", by="p", reason="r")
    bench.store.add_findings(2, 1, TEXT, tool="git_log")
    bench.store.add_findings(2, 2, [finding("c.x", "low", match="7")], tool="git_log")
    assert {one.group_id: one.state for one in groups(bench)} == {
        first.group_id: "open",
        second.group_id: "false_alarm",
    }
