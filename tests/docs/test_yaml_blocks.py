"""Every YAML block of the documentation is valid for the file that it is an example of."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from cylestio_monitor import config, yamlfile
from cylestio_monitor.config.names import ALIASES
from cylestio_monitor.scan import Scanner

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^( *)```ya?ml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SETTINGS = {key.partition(".")[0] for key in (*(option.key for option in config.options()), *ALIASES)}
OTHERS = (
    "jobs",
    "repos",
    "file_format",
    "receivers",
    "exporters",
    "processors",
    "service",
    "groups",
    "route",
    "services",
    "apiVersion",
)
"""Keys at the top of files of build systems, OpenTelemetry, Prometheus, Alertmanager and Kubernetes."""

BLOCKS = [
    pytest.param(
        textwrap.dedent(match[2]), id=f"{page.stem}:{page.read_text('utf-8')[: match.start()].count(chr(10)) + 1}"
    )
    for page in PAGES
    for match in FENCE.finditer(page.read_text("utf-8"))
]


def test_there_are_blocks():
    assert len(BLOCKS) > 5


@pytest.mark.parametrize("text", BLOCKS)
def test_a_yaml_block_loads(text, tmp_path):
    tree, _ = yamlfile.parse_mapping(text, "block")
    file = tmp_path / "block.yaml"
    file.write_text(text, "utf-8")
    if isinstance(tree.get("rules"), list):
        check_rules(tree, file)
    elif set(tree) <= SETTINGS:
        loaded = config.load({}, path=file)
        assert loaded.problems == []
        settings = loaded.settings
        if settings.rules.packs:
            pytest.skip("names a rule file of the reader")
        assert Scanner(settings, key=bytes(32)).problems == []
    else:
        assert any(key in tree for key in OTHERS), f"unknown kind of file: {sorted(tree)}"


def check_rules(tree, file):
    if "ruleset" in tree:
        from cylestio_monitor.rules import load_pack
        from cylestio_monitor.scan.validators.checks import VALIDATORS

        assert load_pack(file, known=tuple(VALIDATORS))[1] == []
    else:
        from cylestio_monitor.govern.policy import loader

        assert loader.read(file, bytes(32)).problems == []
