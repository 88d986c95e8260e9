import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cylestio_monitor import config, yamlfile
from cylestio_monitor.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    file = folder / "cylestio.yaml"
    file.write_text(text, "utf-8")
    return file


def test_defaults_hold_where_nothing_is_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    loaded = config.load({})
    assert loaded.settings == config.Settings()
    assert loaded.problems == []
    assert loaded.source is None


def test_the_environment_wins_over_the_file_and_an_argument_over_both(tmp_path):
    file = write(tmp_path, "mode: block\nagent_id: from-file\nsession_id: from-file\n")
    loaded = config.load(
        {"CYLESTIO_CONFIG": str(file), "CYLESTIO_AGENT_ID": "from-variable", "CYLESTIO_SESSION_ID": "from-variable"},
        overrides={"session_id": "from-argument"},
    )
    assert loaded.settings.mode == "block"
    assert loaded.settings.agent_id == "from-variable"
    assert loaded.settings.session_id == "from-argument"
    assert loaded.origin["mode"] == f"{file}:1"
    assert loaded.origin["agent_id"] == "CYLESTIO_AGENT_ID"
    assert loaded.origin["session_id"] == "argument"


@pytest.mark.parametrize(
    ("text", "line", "key", "reason"),
    [
        ("mode: blok\n", 1, "mode", "invalid enum value 'blok'"),
        ("agent_id: a\nstore:\n  max_mb: 2\n", 3, "store.max_mb", "expected `int` >= 8"),
        ("store:\n  pth: /x\n", 2, "store.pth", "is not a known key"),
        ("rules:\n  silence:\n    - rule: a\n    - ruel: b\n", 4, "rules.silence[1].ruel", "is not a known key"),
        ("keywords:\n  dangerous: wipe\n", 2, "keywords.dangerous", "expected `array`, got `str`"),
        ("mode: block\nmode: monitor\n", 2, "mode", "stands here a second time"),
        ("store:\n  path: [\n", 3, "", "did not find expected"),
        ("- a\n- b\n", 1, "", "must be a mapping of keys to values"),
        ("a: &x 1\nb: *y\n", 2, "", "found undefined alias"),
        ("on: true\n", 1, "", "must be text: quote it"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_key(tmp_path, text, line, key, reason):
    file = write(tmp_path, text)
    problem = config.load({}, path=file).problems[0]
    assert (problem.source, problem.line, problem.key) == (str(file), line, key)
    assert reason in problem.reason
    assert str(problem).startswith(f"{file}:{line}: ")
    assert "\n" not in str(problem)


def test_one_wrong_value_costs_only_itself(tmp_path):
    file = write(
        tmp_path,
        "mode: block\nagent_id: 5\nstore:\n  max_mb: 2\n  keep_days: 3\nkeywords:\n  dangerous: [wipe, 7, purge]\n",
    )
    loaded = config.load({}, path=file)
    assert loaded.settings.mode == "block"
    assert loaded.settings.agent_id is None
    assert loaded.settings.store.max_mb == config.StoreSettings().max_mb
    assert loaded.settings.store.keep_days == 3
    assert loaded.settings.keywords.dangerous == ("wipe", "purge")
    assert [problem.key for problem in loaded.problems] == ["agent_id", "store.max_mb", "keywords.dangerous[1]"]


def test_a_wrong_variable_is_named_and_ignored():
    loaded = config.load({"CYLESTIO_STORE_MAX_MB": "lots", "CYLESTIO_MODE": "Block"})
    assert [problem.source for problem in loaded.problems] == ["CYLESTIO_STORE_MAX_MB"]
    assert loaded.settings.mode == "block"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("on", True), ("TRUE", True), ("no", False), ("0", False)])
def test_a_switch_in_the_environment_takes_the_usual_words(text, value):
    assert config.load({"CYLESTIO_SCAN_ENABLED": text}).settings.scan.enabled is value


def test_a_list_in_the_environment_is_separated_by_commas():
    loaded = config.load({"CYLESTIO_DANGEROUS_KEYWORDS": "wipe, drop all ,", "CYLESTIO_BLOCK": "suspicious,dangerous"})
    assert loaded.settings.keywords.dangerous == ("wipe", "drop all")
    assert loaded.settings.block == ("suspicious", "dangerous")


def test_a_named_file_that_is_missing_is_a_problem_and_a_looked_for_one_is_not(tmp_path):
    missing = tmp_path / "none.yaml"
    assert [str(problem) for problem in config.load({"CYLESTIO_CONFIG": str(missing)}).problems] == [
        f"{missing}: no such file; Cylestio looks for another settings file"
    ]


def test_an_unreadable_file_is_a_problem(tmp_path):
    file = tmp_path / "cylestio.yaml"
    file.write_bytes(b"mode: block\nagent_id: \xff\n")
    assert config.load({}, path=file).problems[0].line == 2
    file.write_text("x" * (yamlfile.MAX_BYTES + 1))
    assert "larger than" in str(config.load({}, path=file).problems[0])


@pytest.mark.parametrize(
    ("setting", "variable", "mode"),
    [
        (None, None, "findings"),
        (None, "NO_CONTENT", "none"),
        (None, "EVENT_ONLY", "findings"),
        (None, "false", "none"),
        ("findings", "SPAN_ONLY", "findings"),
        (None, "SPAN_ONLY", "masked"),
        (None, "span_and_event", "masked"),
        ("full", "NO_CONTENT", "full"),
        ("none", "SPAN_ONLY", "none"),
    ],
)
def test_content_follows_the_setting_and_else_the_standard_variable(setting, variable, mode):
    environ = {config.CONTENT_VARIABLE: variable} if variable else {}
    assert config.content_mode(config.Settings(content=setting), environ) == mode


def test_every_setting_has_a_description_and_a_variable_of_its_own():
    options = list(config.options())
    assert all(option.doc.endswith((".", "`.")) for option in options)
    assert len({option.env for option in options}) == len(options)
    assert all(option.env.startswith("CYLESTIO_") for option in options)


def test_the_database_path_is_the_set_one_or_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert config.database_path(config.Settings()).name == "cylestio.db"
    assert config.database_path(config.Settings(store=config.StoreSettings(path="/x/y.db"))) == Path("/x/y.db")


def key_names() -> list[str]:
    return sorted({part for option in config.options() for part in option.key.split(".")})


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*key_names(), "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(key_names()), json_like, max_size=6))
def test_no_tree_of_values_raises_or_hangs(tree):
    loaded = config.load({}, overrides=tree)
    assert isinstance(loaded.settings, config.Settings)


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_a_named_error(text):
    with contextlib.suppress(ConfigError):
        tree, lines = yamlfile.parse_mapping(text, "file.yaml")
        assert isinstance(tree, dict)
        assert all(line >= 1 for line in lines.values())


def test_a_deep_or_wide_alias_bomb_is_refused_quickly():
    deep = "a: " + "[" * 60 + "]" * 60
    with pytest.raises(ConfigError, match="nested too deep"):
        yamlfile.parse_mapping(deep, "f")
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [" + ",".join([f"*{chr(97 + i)}"] * 9) + "]\n" for i in range(9)
    )
    with pytest.raises(ConfigError, match="too many values"):
        yamlfile.parse_mapping(bomb, "f")


def test_the_schema_for_editors_names_every_setting():
    text = msgspec.json.encode(config.json_schema()).decode()
    assert all(f'"{option.key.rsplit(".", 1)[-1]}"' in text for option in config.options())
