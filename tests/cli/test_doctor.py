"""`cylestio doctor` says what really happens: it tries."""

from __future__ import annotations

import importlib.metadata

import pytest

from cylestio_monitor.capture.registry import SDKS
from cylestio_monitor.otel import diagnosis


def sdk(answer, name):
    return next(row for row in answer.json["sdks"] if row["distribution"] == name)


def check(answer, subject):
    return next(row for row in answer.json["checks"] if row["subject"] == subject)


def install(folder, name, version):
    """A package of that name and version that holds nothing."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    (folder / f"{name}-{version}.dist-info").mkdir()
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )


@pytest.mark.slow
def test_what_is_installed_is_seen_to_be_hooked(cylestio):
    answer = cylestio("doctor", "--json")
    for name in ("anthropic", "openai", "mcp"):
        row = sdk(answer, name)
        assert (row["state"], row["version"]) == ("hooked", importlib.metadata.version(name)), row
    assert answer.code == 0
    text = cylestio("doctor")
    assert text.code == 0
    assert "hooked" in text.out


@pytest.mark.slow
def test_an_sdk_that_is_built_otherwise_is_failed_with_the_reason(cylestio, place, monkeypatch):
    folder = place / "site"
    folder.mkdir()
    install(folder, "openai", importlib.metadata.version("openai"))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    answer = cylestio("doctor", "--json")
    assert answer.code == 1
    row = sdk(answer, "openai")
    assert row["state"] == "failed"
    assert row["reason"]
    assert sdk(answer, "mcp")["state"] == "hooked"


def test_a_refused_sdk_names_the_variable_that_refuses_it(cylestio, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "cylestio_openai,requests")
    answer = cylestio("doctor", "--no-probe", "--json")
    assert answer.code == 1
    assert sdk(answer, "openai")["state"] == "refused"
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in sdk(answer, "openai")["remedy"]
    assert sdk(answer, "mcp")["state"] == "ready"


def test_a_version_that_cannot_be_hooked_names_one_that_can(cylestio, place, monkeypatch):
    install(place, "anthropic", "0.3.0")
    monkeypatch.syspath_prepend(str(place))
    answer = cylestio("doctor", "--no-probe", "--json")
    assert answer.code == 1
    row = sdk(answer, "anthropic")
    assert (row["state"], row["version"]) == ("unsupported", "0.3.0")
    assert row["remedy"].startswith("pip install 'anthropic")


def test_monitoring_that_is_switched_off_says_where(cylestio, place):
    (place / "own.yaml").write_text("enabled: false\n")
    answer = cylestio("--config", "own.yaml", "doctor", "--no-probe", "--json")
    assert sdk(answer, "mcp")["state"] == "off"
    assert "own.yaml:1" in sdk(answer, "mcp")["reason"]


@pytest.mark.parametrize(
    ("variable", "value", "subject"),
    [
        ("OTEL_SDK_DISABLED", "true", "OpenTelemetry"),
        ("OTEL_TRACES_EXPORTER", "console,nonsense", "OpenTelemetry"),
        ("CYLESTIO_MODE", "bluck", "settings"),
        ("CYLESTIO_SCAN_ENABLED", "false", "scanner"),
        ("CYLESTIO_DB_PATH", "/proc/nowhere/cylestio.db", "store"),
    ],
)
def test_what_keeps_spans_from_being_made_seen_or_stored_is_named_with_its_remedy(
    cylestio, monkeypatch, variable, value, subject
):
    monkeypatch.setenv(variable, value)
    answer = cylestio("doctor", "--no-probe", "--json")
    assert answer.code == 1
    assert not check(answer, subject)["ok"]
    assert check(answer, subject)["remedy"]
    assert [row["subject"] for row in answer.json["checks"] if not row["ok"]] == [subject]


def test_all_is_well_on_an_empty_place(cylestio):
    answer = cylestio("doctor", "--no-probe", "--json")
    assert answer.code == 0
    assert all(row["ok"] for row in answer.json["checks"])


@pytest.mark.parametrize(("version", "newer"), [("999.1", True), ("{tested}", False), ("{tested}.dev1", False)])
def test_a_version_newer_than_the_last_one_tested_is_named(cylestio, place, monkeypatch, version, newer):
    tested = diagnosis.tested_versions()["anthropic"]
    install(place, "anthropic", version.format(tested=tested))
    monkeypatch.syspath_prepend(str(place))
    row = sdk(cylestio("doctor", "--no-probe", "--json"), "anthropic")
    assert (row["state"], row["newest_tested"], row["is_newer_than_tested"]) == ("ready", tested, newer)
    assert (f"newer than {tested}" in " ".join(cylestio("doctor", "--no-probe").out.split())) is newer


@pytest.mark.slow
def test_hooks_of_no_distribution_in_particular_are_no_failure(cylestio):
    generic = {f"cylestio_{name}" for name, sdk in SDKS.items() if not sdk.dependencies}
    for words in (("--no-probe",), ()):
        rows = [row for row in cylestio("doctor", *words, "--json").json["sdks"] if row["instrumentor"] in generic]
        assert {row["instrumentor"] for row in rows} == generic
        assert {row["state"] for row in rows} <= {"ready", "hooked"}, rows


def test_results_are_kept_of_monitored_distributions_only():
    supported = {requirement.partition(" ")[0] for sdk in SDKS.values() for requirement in sdk.dependencies[:1]}
    assert {"anthropic", "openai", "mcp"} <= set(diagnosis.results()) <= supported
