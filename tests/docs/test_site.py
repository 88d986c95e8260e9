"""The documentation as a site: its navigation, its links, and pages that two readers of Markdown read alike."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from peers.environment import environment

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
LOADED = re.compile(
    r"<(?:script|link rel=\"?stylesheet\"?|img|iframe)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)"
)


def builder():
    spec = importlib.util.spec_from_file_location("docs_build_site", DOCS / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(entries):
    for entry in entries:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                assert value, f"{entry} has no page"
                yield from files(value)


def test_the_navigation_names_every_page_once():
    assert sorted(files(builder().navigation(DOCS / "README.md"))) == PAGES


def test_a_page_outside_the_index_is_missing_in_the_navigation(tmp_path):
    index = tmp_path / "README.md"
    index.write_text("# D\n\n## How-to: do\n\n- [A](a.md)\n\n### Deeper\n\n- [B `b`](b/b.md): why\n", "utf-8")
    assert builder().navigation(index) == [
        {"Start": "README.md"},
        {"How-to": [{"A": "a.md"}, {"Deeper": [{"B b": "b/b.md"}]}]},
    ]


@pytest.mark.parametrize("page", PAGES)
def test_what_belongs_to_an_item_of_a_list_is_indented_by_four(page):
    is_code = False
    for number, line in enumerate((DOCS / page).read_text("utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            assert is_code or not re.match(r" {1,3}`", line), f"{page}:{number}: Python-Markdown ends the list here"
            is_code = not is_code
        assert is_code or not re.match(r" {1,3}(?:[-*]|\d+\.) ", line), f"{page}:{number}: an item of no list"


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_the_site_builds_and_finds_every_page(tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    pictures = [picture.relative_to(docs) for picture in docs.rglob("*") if picture.suffix in {".png", ".svg"}]
    module, generator = builder(), environment("docs").with_name("zensical")
    assert module.build(docs, generator) == 0
    site = docs / ".site"
    found = {item["location"].partition("#")[0] for item in json.loads((site / "search.json").read_text())["items"]}
    for page in PAGES:
        place = re.sub(r"(?:README|index)?\.md$", "/", page).lstrip("/")
        text = (site / place / "index.html").read_text("utf-8")
        assert place in found, f"the search does not know {page}"
        assert LOADED.findall(text) == [], f"{page} loads from another host"
    assert pictures
    for picture in pictures:
        assert (site / picture).is_file()

    index = docs / "README.md"
    index.write_text(index.read_text("utf-8") + "\nSee [this](reference/cli.md#no-such-heading).\n", "utf-8")
    assert module.build(docs, generator) != 0, "a wrong anchor fails the build"
