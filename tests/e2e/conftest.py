"""The programs as fixtures, and the table of what was checked with which."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest

from e2e import filled, programs

_scale: dict[str, int] = {}
_rows: dict[tuple[str, tuple[str, ...]], Counter[str]] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "programs(*names): the real programs that a test runs, for the closing table")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    outcome = yield
    report = outcome.get_result()
    if item.get_closest_marker("e2e") is None or not (report.when == "call" or report.outcome != "passed"):
        return
    names = tuple(name for mark in item.iter_markers("programs") for name in mark.args)
    what = item.originalname.removeprefix("test_").replace("_", " ")
    _rows.setdefault((what, names), Counter())[report.outcome] += 1


def pytest_terminal_summary(terminalreporter) -> None:
    if not _rows:
        return
    terminalreporter.section("checked with the real programs")
    width = max(len(what) for what, _ in _rows)
    for (what, names), outcomes in _rows.items():
        told = ", ".join(f"{name} {programs.used.get(name, '')}".strip() for name in names)
        count = " ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
        terminalreporter.write_line(f"{count:10} {what:{width}}  {told}".rstrip())
    if _scale:
        terminalreporter.section("two agents, two gateways; each gateway and one agent killed under load")
        for what, count in _scale.items():
            terminalreporter.write_line(f"{count:6} {what}")


def _registered():
    with contextlib.ExitStack() as stack:

        def register(running):
            stack.callback(running.process.stop)
            return running

        yield register


@pytest.fixture
def started():
    """Registers what a test starts, anything with a `process`, to be stopped when the test ends, the last one first."""
    yield from _registered()


@pytest.fixture(scope="session")
def started_session():
    """The same, to be stopped at the end of all tests."""
    yield from _registered()


@pytest.fixture(scope="session")
def stack(collector, jaeger, tmp_path_factory, started_session):
    """The shipped stack, filled with the work of two agents."""
    return filled.fill(collector, jaeger, tmp_path_factory.mktemp("filled"), started_session)


@pytest.fixture
def scale_report():
    """What the test of scale counted, for the closing table."""
    return _scale


@pytest.fixture(scope="session")
def collector():
    return programs.built("collector")


@pytest.fixture(scope="session")
def jaeger():
    return programs.built("jaeger")
