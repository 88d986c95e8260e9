"""Every block of code of the guide and of the migration page runs as it stands, on a store that a real run has filled.

The blocks of a page run in order, in one folder:

- a YAML block of settings is the settings file of the blocks after it;
- a Python block is a program; one behind `<!-- file: NAME -->` is written to that file, for a console block to run;
- an SQL block returns at least one row of the store;
- a line `$ COMMAND` of a console block has the exit code 0, or the one behind `# exit`; the lines after it are in its
  output in this order, where `...` stands for any text.

Each page begins with the settings, the store and the scripted model of a fresh run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from cylestio_monitor import config, yamlfile
from cylestio_monitor.config.names import ALIASES

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
GUIDE = DOCS / "how-to" / "secure-your-agents"
PAGES = [*sorted(GUIDE.glob("*.md")), DOCS / "how-to" / "migrate.md"]
FENCE = re.compile(r"(?:^<!-- (\w+)(?:: (\S+))? -->\n)?^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SETTINGS = {key.partition(".")[0] for key in (*(option.key for option in config.options()), *ALIASES)}
LANGUAGES = {"yaml", "python", "sql", "console", "text"}

pytestmark = pytest.mark.slow


def model_server():
    spec = importlib.util.spec_from_file_location("demo_model", DOCS / "tutorial" / "demo" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.serve()


def environment(folder, address):
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "CYLESTIO_", "ANTHROPIC_", "COV_", "PYTHONPATH"))
    }
    return {
        **kept,
        "PATH": str(Path(sys.executable).parent) + os.pathsep + kept["PATH"],
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": "none-needed",
        "CYLESTIO_DB_PATH": str(folder / "cylestio.db"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "COLUMNS": "200",
    }


def run(command, folder, variables, **options):
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.fixture(scope="module")
def address():
    with model_server() as address:
        yield address


@pytest.fixture(scope="module")
def filled(tmp_path_factory, address):
    """A folder with the store of a run under the launcher."""
    folder = tmp_path_factory.mktemp("filled")
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    done = run([launcher, sys.executable, HERE / "support_agent.py"], folder, environment(folder, address))
    assert done.returncode == 0, done.stderr
    assert "dangerous finding" in done.stderr
    return folder


class Reader:
    """A reader who does what a page says, in a folder of their own."""

    def __init__(self, folder, variables):
        self.folder = folder
        self.variables = variables

    def yaml(self, text, place):
        tree, _ = yamlfile.parse_mapping(text, place)
        if set(tree) <= SETTINGS:
            file = self.folder / "settings.yaml"
            file.write_text(text, "utf-8")
            self.variables["CYLESTIO_CONFIG"] = str(file)
            assert config.load({}, path=file).problems == [], place

    def python(self, text, place):
        program = self.folder / "block.py"
        program.write_text(text, "utf-8")
        done = run([sys.executable, "-W", "error", program], self.folder, self.variables)
        assert (done.returncode, done.stderr) == (0, ""), f"{place}\n{done.stdout}{done.stderr}"

    def sql(self, text, place):
        with closing(sqlite3.connect(f"file:{self.variables['CYLESTIO_DB_PATH']}?mode=ro", uri=True)) as connection:
            assert connection.execute(text).fetchall(), f"{place}: no rows"

    def console(self, text, place):
        for entry in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = re.sub(r"\\\n\s*", " ", entry).partition("\n")
            command, _, code = command.partition("  # exit ")
            done = run(["bash", "-c", f"set -o pipefail; {command}"], self.folder, self.variables)
            said = f"{place}: {command}\n{done.stdout}{done.stderr}"
            assert done.returncode == int(code or 0), said
            output = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines())
            expected = ".*".join(map(re.escape, shown.rstrip().split("...")))
            assert re.search(expected, output, re.DOTALL), f"{said}\nis not what the page shows:\n{shown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_in_order(page, filled, address, tmp_path):
    folder = tmp_path / "page"
    shutil.copytree(filled, folder)
    reader = Reader(folder, environment(folder, address))
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        kind, name, _, language, block = match.groups()
        place = f"{page.name}:{text[: match.start()].count(chr(10)) + 1}"
        block = textwrap.dedent(block)
        assert language in LANGUAGES, f"{place}: blocks of `{language}` are not run"
        if kind == "file":
            (folder / name).write_text(block, "utf-8")
        elif language != "text":
            getattr(reader, language)(block, place)


def test_the_guide_has_its_ten_sections():
    assert sorted(page.stem for page in GUIDE.glob("*.md")) == [
        "authentication-and-roles",
        "content-moderation",
        "deployment",
        "error-handling",
        "incident-response",
        "keyword-lists",
        "layers",
        "least-privilege",
        "review-the-log",
        "secure-the-store",
    ]
