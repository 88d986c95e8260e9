"""Hostile YAML costs bounded time and memory, and plain values come out as an author expects."""

from __future__ import annotations

import time

import pytest

from cylestio_monitor import config, yamlfile
from cylestio_monitor.errors import ConfigError

HOSTILE = {
    "sexagesimal": "session_id: " + ":".join(["1"] * 60_000),
    "sexagesimal float": "session_id: " + ":".join(["1"] * 60_000) + ".5",
    "many keys": "\n".join(f"k{number}: 1" for number in range(300_000)),
    "many unknown keys": "\n".join(f"k{number}: 1" for number in range(40_000)),
    "many wrong items": "keywords: {dangerous: [" + "1," * 40_000 + "]}",
    "deep": "[" * 500_000,
    "deep mapping": "{a: " * 100_000,
    "wide": "a: [" + "x," * 900_000 + "]",
    "alias as key": "a: &a [1, 2]\n? *a\n: x\n",
    "list as key": "? [a, b]\n: x\n",
    "long integer": "session_id: " + "9" * 100_000,
    "long keys": "".join(f"{'x' * 900}{number}: 1\n" for number in range(2_000)),
    "alias to itself": "a: &a [*a]",
    "deep aliases": "a: &a0 [x]\n" + "".join(f"k{n}: &a{n + 1} [*a{n}]\n" for n in range(200)),
    "billion": "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
    "tags": "a: !!python/object/apply:os.system [ls]\nb: !!binary aGk=\n",
    "documents": "---\na: 1\n" * 1_000,
    "quotes": "a: '" + "'" * 1_900_001,
    "anchors": "".join(f"a{number}: &n{number} x\n" for number in range(49_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_costs_bounded_time_and_raises_nothing(tmp_path, name):
    file = tmp_path / "own.yaml"
    file.write_text(HOSTILE[name])
    started = time.process_time()
    loaded = config.load({}, path=file)
    assert time.process_time() - started < 3
    assert loaded.problems or loaded.settings.session_id
    assert len(loaded.problems) <= 250


@pytest.mark.parametrize(("text", "expected"), [("2027-03-31", "2027-03-31"), ("12:30", "12:30"), ("1:30.5", "1:30.5")])
def test_dates_and_times_are_text(text, expected):
    assert yamlfile.parse_mapping(f"a: {text}", "f")[0] == {"a": expected}


@pytest.mark.parametrize("text", ["a: !!set {b}", "a: !!int x", "a: !own b", "a: !!bool maybe", "!!omap [a: 1]"])
def test_tags_that_have_no_plain_value_are_refused(text):
    with pytest.raises(ConfigError):
        yamlfile.parse_mapping(text, "f")
