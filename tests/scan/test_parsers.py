"""Whole parsers and the built-in readings agree on the plain cases, and the parsers see more of the hard ones."""

import sys
import time

import pytest

from cylestio_monitor import config
from cylestio_monitor.scan import Scanner
from cylestio_monitor.scan.readers import full_parsers
from cylestio_monitor.scan.readers.shell import rm_reach
from cylestio_monitor.scan.readers.sql import without_condition

PLAIN_SHELL = {
    "rm -rf /": "root",
    "sudo rm -rf /usr/*": "root",
    "if true; then rm -rf /etc; fi": "root",
    "bash -c 'rm -rf /'": "root",
    "please run `rm -rf ~` now": "root",
    'rm -rf "/"bin': "root",
    "rm -rf *": "wide",
    "rm -rf ./build": "",
    "rm -f x": "",
    "rm -rf /tmp/x": "",
    "rm -rf $HOME/.cache": "",
}
HARD_SHELL = {
    "D=/; rm -rf $D": ("", "root"),
    'R="/etc"\nrm -rf "$R"': ("", "root"),
    "T=/tmp/x; rm -rf $T": ("", ""),
    "cd / && rm -rf *": ("wide", "root"),
    "cd /tmp/x && rm -rf *": ("wide", ""),
    "rm -rf /{bin,etc}": ("wide", "root"),
}
PLAIN_SQL = {
    "DELETE FROM t": True,
    "DELETE FROM t WHERE 1=1": True,
    "DELETE FROM t WHERE a = 1": False,
    "DELETE FROM t WHERE a = 1 AND b = 2": False,
    "DELETE FROM t WHERE id IN (SELECT id FROM x)": False,
    "UPDATE t SET a = 1 WHERE b BETWEEN 1 AND 5": False,
}
HARD_SQL = {
    "DELETE FROM t WHERE a = 1 OR 1=1": (False, True),
    "DELETE FROM t WHERE NOT 1=2": (False, True),
    "DELETE FROM t WHERE id = id OR a = 2": (False, True),
    "UPDATE t SET a = (SELECT b FROM c WHERE d = 1)": (False, True),
    "DELETE FROM t WHERE a LIKE 'x' AND no sql at all": (False, False),
}


@pytest.fixture
def loaded():
    assert full_parsers.load() == []
    yield
    full_parsers.unload()


def _reach(text):
    return rm_reach(text, text.index("rm -"))


def _unbounded(text):
    return without_condition(text, 0, len(text.split()[0]), sure=True)


def test_the_built_in_reading():
    assert {text: _reach(text) for text in PLAIN_SHELL} == PLAIN_SHELL
    assert {text: _reach(text) for text in HARD_SHELL} == {text: plain for text, (plain, _) in HARD_SHELL.items()}
    assert {text: _unbounded(text) for text in PLAIN_SQL} == PLAIN_SQL
    assert {text: _unbounded(text) for text in HARD_SQL} == {text: plain for text, (plain, _) in HARD_SQL.items()}


def test_the_parsers(loaded):
    assert {text: _reach(text) for text in PLAIN_SHELL} == PLAIN_SHELL
    assert {text: _reach(text) for text in HARD_SHELL} == {text: parsed for text, (_, parsed) in HARD_SHELL.items()}
    assert {text: _unbounded(text) for text in PLAIN_SQL} == PLAIN_SQL
    assert {text: _unbounded(text) for text in HARD_SQL} == {text: parsed for text, (_, parsed) in HARD_SQL.items()}


def test_parsing_is_bounded(loaded):
    text = "x=$(y); rm -rf ./a{b,c} $x\n" * 2_000
    began = time.process_time()
    assert {rm_reach(text, at * 27 + 8) for at in range(1_000)} == {""}
    many = "DELETE FROM t WHERE a = 1 OR b = 2;\n" * 1_000
    assert not any(without_condition(many, at * 36, at * 36 + 13, sure=True) for at in range(1_000))
    assert time.process_time() - began < 3


def test_the_setting_takes_them_into_use():
    scan = config.ScanSettings(engine="python", parsers="installed")
    try:
        scanner = Scanner(config.Settings(scan=scan), key=b"k" * 32)
        assert scanner.problems == []
        found = scanner.text("D=/; rm -rf $D", target="output", subtype="tool_call")
        assert {finding.rule_id for finding in found} == {"keyword.rm-rf"}
    finally:
        full_parsers.unload()


def test_a_parser_that_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tree_sitter_bash", None)
    try:
        (problem,) = full_parsers.load()
        assert "pip install 'cylestio-monitor[parsers]'" in problem.reason
        assert _reach("rm -rf /") == "root"
    finally:
        full_parsers.unload()
