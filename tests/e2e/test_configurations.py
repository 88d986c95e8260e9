"""Every configuration file is taken by the program that it is for."""

from __future__ import annotations

import re
import subprocess

import pytest
import trustme
import yaml

from cylestio_monitor import config
from e2e.programs import CONFIG, installed

pytestmark = pytest.mark.e2e

OVERLAYS = {
    "mtls-agent.yaml": "agent",
    "bearer-agent.yaml": "agent",
    "kubernetes.yaml": "agent",
    "kafka.yaml": "agent",
    "mtls-gateway.yaml": "gateway",
    "bearer-gateway.yaml": "gateway",
    "otlp-http.yaml": "gateway",
    "remote-write.yaml": "gateway",
}


@pytest.fixture
def variables(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("localhost")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    (tmp_path / "token").write_text("t")
    return {
        "CYLESTIO_STORAGE": str(tmp_path / "queue"),
        "CYLESTIO_TLS_CA": str(tmp_path / "ca.pem"),
        "CYLESTIO_TLS_CERT": str(tmp_path / "own.pem"),
        "CYLESTIO_TLS_KEY": str(tmp_path / "own.pem"),
        "CYLESTIO_TOKEN_FILE": str(tmp_path / "token"),
        "CYLESTIO_KAFKA_BROKERS": "[127.0.0.1:9092]",
        "CYLESTIO_GATEWAY_SERVICE": "gateway.example",
        "CYLESTIO_BACKEND_URL": "https://backend.example",
        "CYLESTIO_REMOTE_WRITE": "http://127.0.0.1:9090/api/v1/write",
    }


def _validate(collector, variables, *files):
    command = [collector, "validate"]
    for file in files:
        command += ["--config", CONFIG / file]
    return subprocess.run(command, cwd=CONFIG, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.programs("collector")
@pytest.mark.parametrize("role", ["local", "agent", "gateway"])
def test_the_collector_takes_the_configuration(collector, variables, role):
    done = _validate(collector, variables, f"{role}.yaml")
    assert done.returncode == 0, done.stderr


@pytest.mark.programs("collector")
def test_the_collector_takes_every_overlay(collector, variables):
    assert {path.name for path in (CONFIG / "overlays").iterdir()} == set(OVERLAYS)
    for overlay, role in OVERLAYS.items():
        done = _validate(collector, variables, f"{role}.yaml", f"overlays/{overlay}")
        assert done.returncode == 0, (overlay, done.stderr)


@pytest.mark.programs("collector")
def test_the_collector_refuses_a_configuration_with_a_wrong_key(collector, variables, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("exporters: {otlp_grpc/findings: {sending_queue: {fsync: true}}}")
    done = _validate(collector, variables, "agent.yaml", wrong)
    assert done.returncode != 0
    assert "fsync" in done.stderr


@pytest.mark.programs("collector")
def test_every_component_that_is_configured_is_one_that_is_built(collector):
    told = subprocess.run([collector, "components"], capture_output=True, text=True, check=True)
    components = yaml.safe_load(told.stdout)
    for file in [*CONFIG.glob("*.yaml"), *(CONFIG / "overlays").glob("*.yaml")]:
        config = yaml.safe_load(file.read_text())
        for kind in ("receivers", "processors", "exporters", "connectors", "extensions"):
            built = {each["name"] for each in components[kind]}
            used = {name.split("/")[0] for name in config.get(kind) or {} if file.name != "builder.yaml"}
            assert used <= built, file


def test_the_roads_of_findings_ask_one_condition():
    asked = (CONFIG / "parts" / "has-finding.ottl").read_text().strip()
    for role in ("local", "agent", "gateway"):
        text = (CONFIG / f"{role}.yaml").read_text()
        assert "has-finding.ottl" in text
        assert asked not in text


@pytest.mark.programs("promtool")
def test_prometheus_takes_its_configuration():
    check = [installed("promtool"), "check", "config", CONFIG / "prometheus" / "prometheus.yaml"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_scrapes_with_the_shipped_rules_and_jobs():
    shipped = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yaml").read_text())
    compose = yaml.safe_load((CONFIG / "deploy" / "prometheus.compose.yaml").read_text())
    for tree in (shipped, compose):
        tree.pop("alerting")
        for job in tree["scrape_configs"]:
            job.pop("static_configs")
    assert compose == shipped


def test_deployment_files_name_files_and_variables_that_there_are():
    deploy = CONFIG / "deploy"
    known = {name for file in CONFIG.rglob("*.yaml") for name in re.findall(r"env:(CYLESTIO_\w+)", file.read_text())}
    known |= {"CYLESTIO_PROMETHEUS_URL", "CYLESTIO_JAEGER_URL", "CYLESTIO_TEMPO_URL", "CYLESTIO_TOOLS"}
    known |= {option.env for option in config.options() if option.from_text}
    for file in deploy.iterdir():
        used = set(re.findall(r"CYLESTIO_[A-Z_]+", file.read_text()))
        assert used <= known, file
    compose = yaml.safe_load((deploy / "compose.yaml").read_text())
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or source == "./bin/cylestio-collector" or (deploy / source).exists(), (
                source
            )
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


@pytest.mark.programs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path, collector):
    text = (CONFIG / "deploy" / "cylestio-collector@.service").read_text()
    unit = tmp_path / "cylestio-collector@.service"
    unit.write_text(text.replace("/usr/bin/cylestio-collector", str(collector)))
    done = subprocess.run([installed("systemd-analyze"), "verify", unit], capture_output=True, text=True, check=False)
    told = [line for line in (done.stdout + done.stderr).splitlines() if "cylestio" in line]
    assert told == []
