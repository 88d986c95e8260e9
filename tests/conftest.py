"""Fixtures that several folders share: a running pipeline whose spans can be looked at, and the providers' servers."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import warm
from cylestio_monitor import config, pipeline, runtime
from cylestio_monitor.capture import span_resolvers
from wire import WireServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.scan import Scanner

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts in the background with this signal ignored, and every program that a test starts
    # would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, nothing of the code. The gate tries the same examples on
# every run, so that it fails for a change and not by chance; `make fuzz` looks for new ones.
hypothesis.settings.register_profile(
    "gate", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], derandomize=True
)
hypothesis.settings.register_profile(
    "fuzz", hypothesis.settings.get_profile("gate"), derandomize=False, max_examples=3_000
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


class Monitor:
    """A running pipeline, wired to an exporter in memory. Spans of other libraries arrive there too.

    Attributes:
        pipeline: The pipeline that capture modules find.
        exporter: Every finished span, in the order of their ends.
        provider: The global tracer provider while the fixture is in use.
    """

    def __init__(self, scanners: Callable[[config.Settings], Scanner], **overrides: Any) -> None:
        self._scanners = scanners
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.configure(**{"content": "masked", **overrides})

    def configure(self, **overrides: Any) -> None:
        """Runs with other settings from here on."""
        settings = config.load({}, overrides=overrides).settings
        self.pipeline = pipeline.Pipeline(
            settings=settings,
            scanner=self._scanners(settings),
            tracer_provider=self.provider,
            resolvers=span_resolvers.ORDERED,
        )
        runtime.install(self.pipeline)

    def spans(self, count: int = 0, timeout_s: float = 5.0) -> list[Any]:
        """The finished spans; waits until there are `count`, as those of dropped streams come from another thread."""
        until = time.monotonic() + timeout_s
        while True:
            self.pipeline.flush()
            spans = self.exporter.get_finished_spans()
            if len(spans) >= count or time.monotonic() > until:
                return list(spans)
            time.sleep(0.002)

    def span(self) -> Any:
        """The one finished span; it is taken away, so that the next call sees only what follows."""
        (span,) = self.spans(1)
        self.exporter.clear()
        return span


@pytest.fixture(scope="session")
def scanners() -> Callable[[config.Settings], Scanner]:
    """Scanners by what makes them differ: one is made from hundreds of rules, and used by many tests."""
    made: dict[Any, Scanner] = {}

    def scanner(settings: config.Settings) -> Scanner:
        kind = (settings.keywords, settings.rules, settings.scan)
        if kind not in made:
            made[kind] = warm.scanner(settings)
        return made[kind]

    return scanner


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch, scanners: Callable[[config.Settings], Scanner]):
    made = Monitor(scanners)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made.provider)
    yield made
    runtime.turn_off()
    made.provider.shutdown()


@pytest.fixture
def wire():
    with WireServer() as server:
        yield server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", metavar="FILE", help="write which cases passed, as JSON from title to outcome")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(title): one line of the coverage table in docs/reference/coverage.md")
    config.stash[_outcomes] = {}


_outcomes = pytest.StashKey[dict[str, bool]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    for mark in item.iter_markers("case"):
        outcomes = item.config.stash[_outcomes]
        outcomes[mark.args[0]] = outcomes.get(mark.args[0], True) and report.passed
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if target := session.config.getoption("--cases"):
        Path(target).write_text(json.dumps(session.config.stash[_outcomes], indent=1))
