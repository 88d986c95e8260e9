"""The server as a process: its address, its link, and where it refuses to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trustme

from cylestio_monitor.web.server import Address, ServerError


def command(*words):
    code = "import sys; from cylestio_monitor.cli import main; main(sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, words)]


@pytest.mark.slow
def test_the_command_prints_a_link_that_logs_in(bench):
    bench.span("chat")
    bench.flush()
    running = subprocess.Popen(
        command("--db", bench.path, "ui"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        link = running.stdout.readline().strip()
        assert link.startswith("http://127.0.0.1:")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(link, timeout=60) as answer:
            assert "<h1>Overview</h1>" in answer.read().decode()
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "server" not in answer.headers
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(link, timeout=60)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()
    assert running.returncode == 0
    assert link.rpartition("/")[2] not in out + err
    assert "Traceback" not in err


@pytest.mark.slow
def test_with_a_certificate_it_speaks_tls(bench, tmp_path):
    import ssl

    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    (tmp_path / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    words = ("ui", "--certificate", tmp_path / "chain.pem", "--private-key", tmp_path / "key.pem")
    running = subprocess.Popen(
        command("--db", bench.path, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        link = running.stdout.readline().strip()
        assert link.startswith("https://127.0.0.1:")
        handlers = urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor()
        with urllib.request.build_opener(*handlers).open(link, timeout=60) as answer:
            assert answer.status == 200
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (Address("0.0.0.0"), "needs TLS"),
        (Address("192.0.2.1"), "needs TLS"),
        (Address("::"), "needs TLS"),
        (Address("localhost"), "no IP address"),
        (Address("", certificate=Path("a"), private_key=Path("b")), "no IP address"),
        (Address("0.0.0.0", certificate=Path("a"), private_key=Path("b")), "host name"),
        (Address(certificate=Path("a")), "go together"),
        (Address("0.0.0.0", private_key=Path("a")), "go together"),
    ],
)
def test_an_address_without_protection_is_refused(address, reason):
    with pytest.raises(ServerError, match=reason):
        address.check()


@pytest.mark.parametrize("address", [Address(), Address("127.0.0.9"), Address("::1")])
def test_an_address_of_this_machine_alone_needs_no_certificate(address):
    address.check()


def test_the_hosts_that_are_served():
    assert Address().hosts(81) == {"127.0.0.1:81", "localhost:81", "[::1]:81"}
    tls = Address("192.0.2.1", names=("UI.test",), certificate=Path("a"), private_key=Path("b"))
    assert tls.hosts(8443) == {"192.0.2.1:8443", "ui.test:8443"}
    assert "ui.test" in tls.hosts(443)


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            command("--db", tmp_path / "s.db", "ui", "--port", port),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["starlette", "jinja2", "uvicorn"])
def test_without_the_extra_the_command_says_what_to_install(tmp_path, package):
    (tmp_path / "absent").mkdir()
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from cylestio_monitor.cli import main; main(['--db', sys.argv[1], 'ui'])"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "s.db"],
        capture_output=True, text=True, timeout=60, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 3
    assert "pip install 'cylestio-monitor[ui]'" in done.stderr
