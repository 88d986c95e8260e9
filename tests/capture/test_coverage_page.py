"""The coverage table names every way to call that is tested; `tests/capture/coverage.py` writes it."""

from __future__ import annotations

import pytest

from capture import anthropic_calls, openai_calls
from capture.coverage import PAGE

WAYS = {way.title for calls in (anthropic_calls, openai_calls) for way in (*calls.ways(), *calls.async_ways())}


@pytest.mark.parametrize("title", sorted(WAYS))
def test_a_way_to_call_has_its_line(title):
    assert f"| {title} |" in PAGE.read_text("utf-8")
