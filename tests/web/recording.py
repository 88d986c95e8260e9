"""Stores that real calls have filled: conversations that pass the pipeline as a hook passes them."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from html.parser import HTMLParser

import pytest
from opentelemetry import trace

from cylestio_monitor import pipeline
from cylestio_monitor.model import Call, Message, Part, Result, Usage
from cylestio_monitor.otel import setup
from cylestio_monitor.store.read import lists, queries

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} javascript:x \u202egnp\u200b\x07 \"'></pre>"
VOID = {"meta", "link", "input", "img", "br", "hr", "path", "circle", "rect", "line"}


@contextmanager
def recording(path, cache, **settings):
    """Monitoring into a store of the test's; nothing is set from outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("CYLESTIO_", "OTEL_"))]:
            patch.delenv(name)
        patch.setenv("CYLESTIO_DB_PATH", str(path))
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("XDG_CONFIG_HOME", str(path.parent / "config"))
        setup.start({"content": "masked", **settings})
        try:
            yield trace.get_tracer("test")
        finally:
            setup.stop()


def say(messages, answer, *, system=None, model="m-1", **call):
    """One model call through the pipeline; `answer` is a text or a list of parts."""
    running = pipeline.current()
    parts = [Part("text", answer, path="content[0]")] if isinstance(answer, str) else answer
    begun = running.begin(
        Call(
            operation="chat",
            name=f"chat {model}",
            provider="test",
            model=model,
            system=[Part("text", system, path="system")] if system else [],
            messages=list(messages),
            **call,
        )
    )
    begun.end(Result(messages=[Message("assistant", parts)], model=model, usage=Usage(10, 5)), enforce=True)
    return Message("assistant", parts)


def user(text, number=0):
    return Message("user", [Part("text", text, path=f"messages[{number}].content")])


def trace_ids(path):
    with queries.connect(path) as connection:
        return [row.trace_id for row in reversed(lists.runs(connection, limit=1000).rows)]


class Page(HTMLParser):
    """The elements of a page, checked while they are read: each closes, each id is there once, each anchor exists."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.ids = []
        self.links = []
        self.forms = []
        self.text = ""
        self.attributes = []
        self._open = []
        self.feed(text)
        assert not self._open, self._open
        assert len(self.ids) == len(set(self.ids))
        anchors = {link[1:] for link in self.links if link.startswith("#")}
        assert anchors <= set(self.ids), anchors - set(self.ids)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        found = dict(attrs)
        self.attributes.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.forms += [found.get("action", "")] if tag == "form" else []
        assert "style" not in found
        assert not [name for name in found if name.startswith("on")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read_page(browser, path):
    """A page that is sound: one heading of the first level, labelled fields, no script of its own, no foreign link."""
    text = browser.text(path)
    page = Page(text)
    assert page.tags.count("h1") == 1
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [link for link in page.links if re.match(r"(?i)\s*(javascript|data|https?):", link)]
    assert "\u202e" not in text
    return page
