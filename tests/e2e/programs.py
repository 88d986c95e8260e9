"""The real programs of the end-to-end tests: where they are, their versions, and running them on loopback ports."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "collector-config"
DEBIAN = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "systemd-analyze": "systemd",
    "chromium": "chromium",
}
"""Program to Debian's package."""
used: dict[str, str] = {}
"""Program to version, of every program that a test asked for."""


def built(name: str) -> Path:
    """The collector or Jaeger, from the cache of `collector-config/build`, built where it is missing."""
    if shutil.which("go") is None:
        missing(f"{name} is built with Go, which this machine does not have")
    done = subprocess.run([CONFIG / "build", name], stdout=subprocess.PIPE, text=True, check=True)
    program = Path(done.stdout.split(maxsplit=1)[1].strip())
    module = "github.com/jaegertracing/jaeger" if name == "jaeger" else "go.opentelemetry.io/collector/otelcol"
    pins = (CONFIG / "modules" / name / "go.mod").read_text()
    found = re.search(rf"{re.escape(module)} (v\S+)", pins)
    assert found is not None
    used[name] = found[1]
    return program


def installed(name: str) -> Path:
    """A program of Debian's packages; root installs it where it is missing."""
    found = _which(name)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        _apt("update", "-qq")
        _apt("install", "-y", "-qq", "--no-install-recommends", DEBIAN[name])
        found = _which(name)
    if found is None:
        missing(f"{name} is not installed: apt-get install --no-install-recommends {DEBIAN[name]}")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"(?:version|systemd|Chromium) (\S+)", told.stdout + told.stderr)
    used[name] = version[1] if version else "?"
    return Path(found)


def _which(name: str) -> str | None:
    return shutil.which(name) or shutil.which(f"prometheus-{name}")  # Debian's name of Alertmanager


def _apt(*arguments: str) -> None:
    # The package starts its service at once, on the very ports that a developer may use: the policy forbids it.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(
            ["apt-get", *arguments],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    finally:
        if ours:
            policy.unlink()


def missing(reason: str) -> None:
    """Skips the test where something it needs is not there; in CI, fails it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on; held together, so they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def get(url: str, timeout_s: float = 10) -> str:
    """The body of an HTTP answer."""
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        return answer.read().decode()


def until(condition, timeout_s: float = 30, what: str = "", every_s: float = 0.2):
    """Waits for a truthy value and returns it; fails with the last value otherwise."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout_s} s: {what or condition}; last: {value!r}")
        time.sleep(every_s)


class Process:
    """A program running in a folder of its own, its output in a file there.

    Args:
        command: Program and arguments.
        folder: Where it runs and writes; made where missing.
        ready: A URL that answers 200 once it can be used.
        env: Variables on top of this process's.
        cwd: Where it runs, when that is not its own folder.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        ready: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.folder = folder
        self.ready = ready
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd or folder
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(self._is_ready, 60, f"{self.command[0]} to be ready; its log: {self.folder / 'log'}")
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"{self.command} ended: {self.log()[-3000:]}")
        try:
            get(self.ready, 2)
        except OSError:
            return False
        return True

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def kill(self) -> None:
        """As the kernel would: no chance to save anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
