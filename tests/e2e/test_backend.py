"""`make backend`: the programs run, the addresses that it prints answer, and an interrupt stops everything."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from e2e.programs import CONFIG, installed

pytestmark = pytest.mark.e2e


@pytest.mark.programs("collector", "jaeger", "prometheus", "alertmanager")
def test_the_backend_answers_where_it_says_and_stops_when_it_is_interrupted(collector, jaeger, tmp_path):
    assert collector.exists()
    assert jaeger.exists()
    for name in ("prometheus", "alertmanager"):
        installed(name)
    log = (tmp_path / "log").open("w+b")
    backend = subprocess.Popen(
        [sys.executable, CONFIG / "backend", "--free-ports"], stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        lines = []
        while not lines or not lines[-1].startswith("OTEL_EXPORTER"):
            lines.append(backend.stdout.readline())
            assert lines[-1], (tmp_path / "log").read_text()
        places = dict(re.findall(r"^(\w+) +(http://127\.0\.0\.1:\d+)", "".join(lines), re.MULTILINE))
        assert set(places) == {"collector", "jaeger", "prometheus", "alertmanager"}
        for name, path in (("jaeger", "/api/services"), ("prometheus", "/-/ready"), ("alertmanager", "/-/ready")):
            with urllib.request.urlopen(places[name] + path, timeout=10) as answer:
                assert answer.status == 200
        sent = urllib.request.Request(
            f"{places['collector']}/v1/traces", b"{}", {"content-type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(sent, timeout=10) as answer:
            assert answer.status == 200
    finally:
        backend.send_signal(signal.SIGINT)
        assert backend.wait(60) == 0
        backend.stdout.close()
        log.close()
    for place in places.values():
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(place, timeout=10)


def test_another_option_is_refused():
    done = subprocess.run([sys.executable, CONFIG / "backend", "--no"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr
