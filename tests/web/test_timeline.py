"""The timeline of a run, and the page of one span."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, set_span_in_context

from cylestio_monitor import semconv
from cylestio_monitor.web import timeline
from store.filling import Bench
from web.conftest import browsing
from web.recording import HOSTILE, read_page, recording, say, trace_ids, user

BEGIN = 1_800_000_000_000_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A run of 5,000 spans: 20 parents of 249 children, one of them with a finding, one failed, one slow."""
    made = Bench(tmp_path_factory.mktemp("large") / "store.db")
    tracer = made.tracer
    begin = BEGIN
    root = tracer.start_span("nightly", start_time=begin)
    for number in range(20):
        at = begin + number * 1_000_000_000
        parent = tracer.start_span("research topic", context=set_span_in_context(root), start_time=at)
        inside = set_span_in_context(parent)
        for index in range(248):
            child = tracer.start_span("execute_tool fetch_page", context=inside, start_time=at + index * 1_000_000)
            child.set_attribute(semconv.OPERATION_NAME, "execute_tool")
            child.set_attribute(semconv.TOOL_NAME, "fetch_page")
            if (number, index) == (7, 100):
                child.set_attribute(semconv.SEVERITY_NUMBER, 3)
                child.set_attribute(semconv.ALERT, "dangerous")
            if (number, index) == (8, 50):
                child.set_status(Status(StatusCode.ERROR, "TimeoutError"))
            child.end(at + index * 1_000_000 + (900_000_000 if (number, index) == (9, 9) else 800_000))
        parent.end(at + 950_000_000)
    root.end(begin + 20_000_000_000)
    made.flush()
    path = made.path
    made.close()
    return path


def test_a_small_run_has_a_row_for_each_span(demo):
    with browsing(demo) as browser:
        page = read_page(browser, f"/t/{trace_ids(demo)[0]}/timeline")
    assert page.tags.count("tr") == 9
    assert "8 spans in 8 rows" in page.text
    assert sum("/span/" in link for link in page.links) == 8


def test_a_large_run_folds_what_is_equal(large):
    with browsing(large) as browser:
        address = f"/t/{trace_ids(large)[0]}/timeline"
        text = browser.text(address)
        page = read_page(browser, address)
    assert "4,981 spans in" in page.text
    assert page.tags.count("tr") < 20
    assert page.text.count("failed") >= 1
    assert "248 \u00d7" not in page.text
    assert "247 \u00d7" in page.text
    assert "p50 800 us" in page.text
    assert len(text) < 300_000


def test_a_folded_row_opens_and_has_pages(large):
    with browsing(large) as browser:
        address = f"/t/{trace_ids(large)[0]}/timeline"
        opened = next(link for link in read_page(browser, address).links if "open=" in link)
        page = read_page(browser, opened)
        assert page.tags.count("tr") > 20
        everything = read_page(browser, f"{address}?show=tool")
        assert everything.tags.count("tr") == 251
        following = next(link for link in everything.links if "from=250" in link)
        assert read_page(browser, following).tags.count("tr") == 251


@pytest.mark.parametrize(
    ("query", "rows"), [("show=failed", 3), ("show=findings", 3), ("name=NIGHTLY", 1), ("name=zzz", 0)]
)
def test_filters_keep_the_ancestors(large, query, rows):
    with browsing(large) as browser:
        page = read_page(browser, f"/t/{trace_ids(large)[0]}/timeline?{query}")
    assert page.tags.count("tr") == (rows + 1 if rows else 0)


@pytest.mark.parametrize(
    "query",
    [
        "open=zz",
        "open=" + ",".join(["a" * 16] * 500),
        "show=%3Cscript%3E",
        "from=x",
        "zoom=findings",
        "name=%00%3Cb%3E",
    ],
)
def test_any_query_is_answered(large, query):
    with browsing(large) as browser:
        read_page(browser, f"/t/{trace_ids(large)[0]}/timeline?{query}")


def test_parents_in_a_circle_and_skewed_clocks_are_shown(tmp_path):
    bench = Bench(tmp_path / "data" / "store.db")
    for own, parent in ((1, 2), (2, 1), (3, 3), (4, 99)):
        bench.store.add_span(
            ReadableSpan(
                name=f"span {own}",
                context=SpanContext(7, own, is_remote=False),
                parent=SpanContext(7, parent, is_remote=True),
                resource=bench.provider.resource,
                start_time=BEGIN + 2000 - own,
                end_time=BEGIN + 1000,
            )
        )
    bench.flush()
    with browsing(bench.path) as browser:
        page = read_page(browser, f"/t/{7:032x}/timeline")
    bench.close()
    assert {link[-1] for link in page.links if "/span/" in link} == {"1", "2", "3", "4"}
    assert page.tags.count("tr") == 5
    assert "parent not stored" in page.text
    assert "clock differs" in page.text


@pytest.mark.parametrize("length", [1, 9, 10, 11, 99, 1234, 10**9, 38 * 60 * 10**9, 10**18])
def test_the_axis_has_few_marks_inside_the_window(length):
    marks = timeline.ticks(length)
    assert 1 <= len(marks) <= 10
    assert all(0 <= x < 100 for x, _ in marks)


def test_a_span_shows_every_stored_fact(demo):
    with browsing(demo) as browser:
        links = read_page(browser, f"/t/{trace_ids(demo)[0]}/timeline").links
        texts = [read_page(browser, link).text for link in links if "/span/" in link]
    sql = next(text for text in texts if "DROP TABLE releases" in text and "execute_tool run_sql" in text)
    assert "keyword.drop" in sql
    assert "AML.T0101" in sql
    assert semconv.TOOL_NAME in sql
    asked = next(text for text in texts if "Values of untrusted sources" in text)
    assert "tool:git_log" in asked
    raw = next(text for text in texts if "git_show" in text).partition("Show the stored row")[2].strip()
    assert json.JSONDecoder().raw_decode(raw)[0]["kind"] in {"internal", "client"}


@pytest.mark.parametrize("span", ["0" * 16, "x", "../..", "%00", "A" * 16])
def test_a_foreign_span_is_no_page(demo, span):
    with browsing(demo) as browser:
        assert browser.get(f"/t/{trace_ids(demo)[0]}/span/{span}").status_code == 404


def test_hostile_names_and_attributes_are_text(tmp_path, cache):
    path = tmp_path / "store.db"
    with recording(path, cache, agent_id=HOSTILE) as tracer, tracer.start_as_current_span(HOSTILE) as span:
        span.set_attribute(HOSTILE, HOSTILE * 1000)
        span.add_event(HOSTILE, {HOSTILE: HOSTILE})
        say([user(HOSTILE)], HOSTILE, model=HOSTILE)
    with browsing(path) as browser:
        page = read_page(browser, f"/t/{trace_ids(path)[0]}/timeline")
        for link in page.links:
            if "/span/" in link:
                read_page(browser, link)
