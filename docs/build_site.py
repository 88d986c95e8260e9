"""Builds the pages of this folder as a searchable site in `docs/.site`: `make site`.

The generator stops at every link and every anchor that leads nowhere. It is installed from `requirements/docs.txt` into
an environment of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SETTINGS = "zensical.toml"
WITH_NAVIGATION = ".zensical.toml"
_SECTION = re.compile(r"^## (?P<title>[^\n:]+)(?::[^\n]*)?\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_SUBSECTION = re.compile(r"^### (?P<title>[^\n]+)\n(?P<body>.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
_PAGE = re.compile(r"^- \[(?P<title>[^\]]+)\]\((?P<file>[^)#]+\.md)\)", re.MULTILINE)


def main() -> int:
    """Builds the site; the exit status is that of the generator."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    from peers.environment import environment  # noqa: PLC0415 -- the tests' own road to an environment of a lock file

    status = build(DOCS, environment("docs").with_name("zensical"))
    if not status:
        print(f"site: {DOCS / '.site' / 'index.html'}")
    return status


def build(docs: Path, generator: Path) -> int:
    """Builds the site of a folder into its subfolder `.site`.

    Args:
        docs: The folder of the pages.
        generator: The program `zensical`.

    Returns:
        The exit status of the generator, which has printed every wrong link.
    """
    settings = docs / WITH_NAVIGATION
    entries = json.dumps(navigation(docs / "README.md"), ensure_ascii=False)
    text = (docs / SETTINGS).read_text("utf-8")
    settings.write_text(text.replace("[project]\n", f"[project]\nnav = {_toml(entries)}\n", 1), "utf-8")
    try:
        command = [str(generator), "build", "--clean", "--strict", "--config-file", str(settings)]
        return subprocess.run(command, check=False).returncode  # noqa: S603 -- the command is built above
    finally:
        settings.unlink()


def navigation(index: Path) -> list[dict[str, str | list[dict[str, object]]]]:
    """Reads the navigation from the index: its sections, their subsections, and the pages with their titles."""
    text = index.read_text("utf-8")
    sections = ((match["title"].strip(), match["body"]) for match in _SECTION.finditer(text))
    return [{"Start": index.name}, *({title: _entries(body)} for title, body in sections)]


def _entries(body: str) -> list[dict[str, object]]:
    """Returns the pages of a section, then its subsections."""
    own = body.partition("\n### ")[0]
    pages: list[dict[str, object]] = [{match["title"].replace("`", ""): match["file"]} for match in _PAGE.finditer(own)]
    pages += [{match["title"].strip(): _entries(match["body"])} for match in _SUBSECTION.finditer(body)]
    return pages


def _toml(text: str) -> str:
    """Turns JSON of objects with one key into TOML: an inline table has `=` after its key."""
    return re.sub(r'("(?:[^"\\]|\\.)*"): ', r"\1 = ", text)


if __name__ == "__main__":
    sys.exit(main())
