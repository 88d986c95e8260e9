"""The Anthropic SDK hooked, for the length of a test."""

from __future__ import annotations

import pytest
from cylestio_monitor.capture.anthropic import AnthropicInstrumentor


@pytest.fixture
def hooked(monitor):
    instrumentor = AnthropicInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    yield monitor
    instrumentor.uninstrument()
