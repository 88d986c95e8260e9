"""Diagnosis: the state of every SDK with its reason and remedy, and of the settings, the store and the exporters.

`survey` reads the installed versions and the settings. `probe` finds out: it starts a process under the launcher, with
the environment as it is, imports every SDK that is installed and asks its instrumentor.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

from cylestio_monitor._version import __version__
from cylestio_monitor.config import database_path
from cylestio_monitor.errors import counted
from cylestio_monitor.otel import instrumentors, provider

if TYPE_CHECKING:
    from cylestio_monitor.config import Loaded

State = Literal["hooked", "ready", "absent", "unsupported", "refused", "off", "failed"]

PROBE_S = 60
"""Longest time of the probing process, in seconds: it imports every SDK that is installed."""

_OTHER_PRODUCT = ("monitor.py", "patchers", "events", "events_listener.py", "events_processor.py", "api_client.py")
"""Modules of the older product that this one does not have."""

_DISTRIBUTION = re.compile(r"\s*([\w.-]+)\s*(.*)")
_LAUNCHER = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"


@dataclass(frozen=True)
class SDK:
    """One SDK and what monitoring makes of it here.

    Attributes:
        instrumentor: The entry point's name, such as ``cylestio_anthropic``.
        distribution: The package, as pip names it.
        version: The installed version; ``None`` where it is not installed.
        supported: The versions that can be hooked.
        state: ``hooked``: seen to be hooked; ``ready``: would be hooked when it is imported; ``absent``: not installed;
            ``unsupported``: another version; ``refused`` or ``off``: switched off; ``failed``: could not be hooked.
        reason: Why.
        remedy: What would have it hooked; empty where nothing is to be done.
        newest_tested: The newest version that the tests of this package ran with; ``None`` where they ran with none.
        is_newer_than_tested: The installed version is newer than that.
    """

    instrumentor: str
    distribution: str
    version: str | None
    supported: str
    state: State
    reason: str
    remedy: str
    newest_tested: str | None = None
    is_newer_than_tested: bool = False


@dataclass(frozen=True)
class Check:
    """One other thing that decides what is seen.

    Attributes:
        subject: What was looked at.
        ok: Whether it is in order.
        found: What was found.
        remedy: What would put it in order; empty where it is.
    """

    subject: str
    ok: bool
    found: str
    remedy: str = ""


def survey(loaded: Loaded) -> list[SDK]:
    """Every SDK that can be hooked, judged by what is installed and what is set; nothing is imported of it."""
    tested = tested_versions()
    return [_compared(_judge(entry, loaded), tested) for entry in instrumentors.found()]


def results() -> dict[str, Any]:
    """Returns what `make compat` found: for each distribution the runs at its ``oldest`` and its ``newest`` release."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "tested_versions.json").read_text("utf-8"))
    return found


def tested_versions() -> dict[str, str]:
    """Returns the newest version of each distribution that the tests of this package passed with."""
    passed = {
        name: [row[age]["version"] for age in ("newest", "oldest") if row[age]["passed"] and not row[age]["failed"]]
        for name, row in results().items()
    }
    return {name: versions[0] for name, versions in passed.items() if versions}


def _compared(sdk: SDK, tested: dict[str, str]) -> SDK:
    newest = tested.get(sdk.distribution)
    if newest is None or sdk.version is None:
        return replace(sdk, newest_tested=newest)
    is_newer = get_dependency_conflicts([f"{sdk.distribution} <= {newest}"]) is not None
    return replace(sdk, newest_tested=newest, is_newer_than_tested=is_newer)


def probe(sdks: list[SDK]) -> list[SDK]:
    """The same list after trying: what was `ready` is `hooked` or `failed`.

    Args:
        sdks: What `survey` says.
    """
    if not any(sdk.state == "ready" for sdk in sdks):
        return sdks
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-c", _LAUNCHER, sys.executable, "-m", __name__, str(report)]
        # The rest of the environment stays: what is asked is whether it works in just this one.
        environment = {**os.environ, "CYLESTIO_STORE_ENABLED": "false", "OTEL_METRICS_EXPORTER": "none"}
        try:
            done = subprocess.run(  # noqa: S603 -- this interpreter and this module
                command, env=environment, capture_output=True, text=True, timeout=PROBE_S, check=False
            )
            said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        except subprocess.TimeoutExpired:
            said = [f"no answer within {PROBE_S} s"]
        found: dict[str, Any] = json.loads(report.read_text("utf-8")) if report.is_file() else {}
    return [_tried(sdk, found.get(sdk.instrumentor), said[0]) if sdk.state == "ready" else sdk for sdk in sdks]


def checks(loaded: Loaded) -> list[Check]:
    """Returns the checks of package, settings, OpenTelemetry, store and scanner."""
    return [_package(), _settings(loaded), _telemetry(), _store(loaded), _engine(loaded)]


def _package() -> Check:
    """Detects the files or the metadata of the older product that was published under the same package name."""
    folder = Path(__file__).parents[1]
    foreign = sorted(name for name in _OTHER_PRODUCT if (folder / name).exists())
    versions = {dist.version for dist in importlib.metadata.distributions(name=instrumentors.DISTRIBUTION)}
    remedy = "remove every cylestio-monitor with pip uninstall, then install this version again"
    if foreign:
        return Check("package", False, f"files of another product are mixed in: {', '.join(foreign)}", remedy)
    if versions != {__version__}:
        found = ", ".join(sorted(versions - {__version__})) or "none"
        return Check("package", False, f"version {__version__} runs, but the environment lists {found}", remedy)
    return Check("package", True, f"cylestio-monitor {__version__}")


def _settings(loaded: Loaded) -> Check:
    where = str(loaded.source) if loaded.source else "no file"
    count = len(loaded.problems)
    if count:
        return Check("settings", False, f"{where}, {counted(count, 'value')} cannot be used", "cylestio config check")
    return Check("settings", True, where)


def _telemetry() -> Check:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Check("OpenTelemetry", False, "OTEL_SDK_DISABLED is true: no span is made", "unset OTEL_SDK_DISABLED")
    known = {entry.name for entry in importlib.metadata.entry_points(group="opentelemetry_traces_exporter")}
    names = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    unknown = sorted({name for name in names if name not in {*known, "none"}})
    if unknown:
        # The SDK gives up its whole set-up for one name it does not know.
        return Check(
            "OpenTelemetry",
            False,
            f"OTEL_TRACES_EXPORTER names {', '.join(unknown)}, which is not installed",
            f"take {', '.join(unknown)} out of OTEL_TRACES_EXPORTER, or install it",
        )
    return Check("OpenTelemetry", True, f"SDK {importlib.metadata.version('opentelemetry-sdk')}, {_destination(names)}")


def _destination(names: list[str]) -> str:
    if os.environ.get("OTEL_CONFIG_FILE"):
        return "set up by OTEL_CONFIG_FILE"
    endpoint = provider.otlp_exporter("TRACES")
    others = [name for name in names if name != "none"]
    if endpoint or others:
        return f"local store and {', '.join(others) or endpoint}"
    return "local store only"


def _store(loaded: Loaded) -> Check:
    if not loaded.settings.store.enabled:
        return Check("store", True, f"switched off in {loaded.origin.get('store.enabled', 'the settings')}")
    path = database_path(loaded.settings)
    try:
        if path.exists():
            path.open("r+b").close()
        else:
            # Permissions do not tell what a file system allows; only trying does.
            tempfile.TemporaryFile(dir=next(parent for parent in path.parents if parent.exists())).close()
    except OSError as error:
        return Check(
            "store", False, f"{path} cannot be written: {error.strerror}", "set CYLESTIO_DB_PATH to a place of your own"
        )
    return Check("store", True, f"{path}{'' if path.exists() else ', not written yet'}")


def _engine(loaded: Loaded) -> Check:
    if not loaded.settings.scan.enabled:
        return Check("scanner", False, "scan.enabled is false: nothing is looked for", "set scan.enabled to true")
    fast = importlib.util.find_spec("hyperscan") is not None
    wanted = loaded.settings.scan.engine
    if wanted == "hyperscan" and not fast:
        return Check("scanner", False, "scan.engine is hyperscan, which is not installed", "pip install hyperscan")
    return Check(
        "scanner", True, "hyperscan" if fast and wanted != "python" else "python, with the same findings, slower"
    )


def _judge(entry: importlib.metadata.EntryPoint, loaded: Loaded) -> SDK:
    try:
        dependencies = entry.load().dependencies
    except (ImportError, AttributeError) as error:
        return SDK(entry.name, entry.name.removeprefix(instrumentors.PREFIX), None, "", "failed", str(error), "")
    if not dependencies:  # it hooks whatever has a certain shape, of no distribution in particular
        name = entry.name.removeprefix(instrumentors.PREFIX)
        ready = SDK(entry.name, name, None, "", "ready", "will hook each one that the program imports", "")
        return _as_set(ready, loaded)
    wanted = dependencies[0]
    match = _DISTRIBUTION.match(wanted)
    name, supported = (match[1], match[2]) if match else (wanted, "")
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return SDK(entry.name, name, None, supported, "absent", "not installed", "")
    if get_dependency_conflicts([wanted]) is not None:
        remedy = f"pip install '{name}{supported.replace(' ', '')}'"
        return SDK(entry.name, name, version, supported, "unsupported", f"version {version} is not {supported}", remedy)
    ready = SDK(entry.name, name, version, supported, "ready", "will be hooked when the program imports it", "")
    return _as_set(ready, loaded)


def _as_set(sdk: SDK, loaded: Loaded) -> SDK:
    """Returns an SDK that could be hooked, with what the settings say of it."""
    if instrumentors.refused(sdk.instrumentor):
        variable = instrumentors.DISABLED
        return replace(sdk, state="refused", reason=f"named in {variable}", remedy=f"take it out of {variable}")
    if not loaded.settings.enabled:
        origin = loaded.origin.get("enabled", "the settings")
        return replace(sdk, state="off", reason=f"enabled is false, set in {origin}", remedy="set enabled to true")
    return sdk


def _tried(sdk: SDK, answer: dict[str, str] | None, said: str) -> SDK:
    if answer is None:
        return replace(
            sdk, state="failed", reason=said, remedy="start a program under opentelemetry-instrument and read its log"
        )
    if answer["state"] == "hooked":
        return replace(sdk, state="hooked", reason=answer["reason"])
    if not sdk.supported and answer["state"] == "waiting":  # nothing of that shape is installed
        return sdk
    return replace(
        sdk,
        state="failed",
        reason=answer["reason"] or answer["state"],
        remedy=f"pip install --upgrade {sdk.distribution}",
    )


def _report() -> dict[str, dict[str, str]]:
    """In the probing process: imports what can be imported and asks every instrumentor."""
    answers = {}
    for entry in instrumentors.found():
        instrumentor = entry.load()()
        failure = ""
        for module in instrumentor.modules:
            try:
                importlib.import_module(module)
            except ModuleNotFoundError:
                continue  # not of this version of the SDK
            except Exception as error:  # noqa: BLE001 -- whatever an SDK's import raises is the answer
                failure = f"import {module}: {error}"
        answers[entry.name] = {"state": instrumentor.state, "reason": failure or instrumentor.reason}
    return answers


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(_report()), "utf-8")
