"""The Python API: start and stop monitoring from a program, and scan a text.

Start and stop never raise: an error is one line in the log of `cylestio_monitor`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cylestio_monitor.config import database_path, load

if TYPE_CHECKING:
    from cylestio_monitor.config import Settings
    from cylestio_monitor.detect import Moderator
    from cylestio_monitor.govern.approvals import ApprovalRequest
    from cylestio_monitor.model import Finding, Subtype, Target
    from cylestio_monitor.scan import Scanner

log = logging.getLogger("cylestio_monitor")


def start_monitoring(agent_id: str | None = None, config: Mapping[str, Any] | str | Path | None = None) -> None:
    """Starts monitoring: hooks every supported SDK, now or on its import, and writes to the store and the exporters.

    Existing clients are covered. If monitoring already runs, also through the launcher, the settings of this call
    change and the others stay.

    Args:
        agent_id: Name of this agent on every span and event.
        config: Settings as the YAML file holds them, nested, or the path of such a file.
    """
    overrides: dict[str, Any] = {}
    path = None
    given: object = config
    if isinstance(given, (str, Path)):
        path = given
    elif isinstance(given, Mapping):
        overrides.update(given)
    elif given is not None:
        log.warning("config: must be a mapping or a path, not %s; it is left out", type(given).__name__)
    if agent_id is not None:
        overrides["agent_id"] = agent_id
    try:
        from cylestio_monitor.otel import setup  # noqa: PLC0415 -- the SDK is imported when monitoring starts

        setup.start(overrides, path=path)
    except Exception:  # an application must start, whatever its environment does to monitoring
        log.warning("Monitoring could not start; the application runs on without it", exc_info=True)


def on_approval(callback: Callable[[ApprovalRequest], bool | None]) -> None:
    """Adds a function that decides about tool calls which a policy holds for approval.

    Args:
        callback: Called in a thread of its own. ``True`` allows the call once, ``False`` denies it, ``None`` leaves the
            decision to others.
    """
    from cylestio_monitor.otel.control import approval_callbacks  # noqa: PLC0415 -- few applications decide

    approval_callbacks.append(callback)


def on_moderation(moderator: Moderator, *, name: str = "application") -> None:
    """Adds a function that moderates the texts of model calls; its answers become events and findings.

    Args:
        moderator: Called as ``moderator(text, target=..., subtype=...)`` in a thread of its own, or awaited there. It
            returns a `Moderation`, or ``None`` where it has nothing to say about such texts. The settings under
            `moderation` say which texts it gets and if calls wait for it.
        name: Its name, in the rule ``moderator.<name>``.
    """
    from cylestio_monitor import runtime  # noqa: PLC0415 -- few applications moderate
    from cylestio_monitor.detect import moderators  # noqa: PLC0415 -- as above

    moderators.callbacks.append((name, moderator))
    if runtime.pipeline is not None:
        runtime.pipeline.find_workers()


def stop_monitoring() -> None:
    """Stops monitoring: removes every hook and writes all records. The tracer provider stays usable."""
    try:
        from cylestio_monitor.otel import setup  # noqa: PLC0415 -- as above

        setup.stop()
    except Exception:  # the application may be ending; nothing may raise into its shutdown
        log.warning("Monitoring could not be stopped as it should", exc_info=True)


def enable_monitoring(
    agent_id: str,
    llm_client: object = None,
    *,
    log_file: str | Path | None = None,
    debug_level: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Starts monitoring with the arguments of the first releases.

    Args:
        agent_id: Name of this agent on every span and event.
        llm_client: A client of a supported SDK. Every client is covered; one of another SDK is reported.
        log_file: Where events are also written, a JSON object a line.
        debug_level: Level of this package's own log, such as ``DEBUG``.
        config: Further settings, nested as in the YAML file.
    """
    overrides = dict(config or {})
    if log_file is not None:
        overrides["log"] = {**overrides.get("log", {}), "file": os.fspath(log_file)}
    if debug_level is not None:
        level = logging.getLevelName(debug_level.upper())
        if isinstance(level, int):
            log.setLevel(level)
        else:
            log.warning("debug_level: %r is no level of Python's logging", debug_level)
    start_monitoring(agent_id, overrides)
    if llm_client is not None:
        _report_unsupported(llm_client)


def disable_monitoring() -> None:
    """Stops monitoring; the same as `stop_monitoring`."""
    stop_monitoring()


def get_database_path() -> str:
    """Returns the path of the local store: of the running set-up, or of the settings."""
    return str(database_path(_settings()))


def cleanup_old_events(days: int = 30) -> int:
    """Removes spans, findings and events that are older than `days` days; returns how many spans and events went.

    Raises:
        StoreError: The store cannot be opened.
    """
    from cylestio_monitor.db import utils  # noqa: PLC0415 -- the queries are imported when they are used

    return utils.cleanup_old_events(days)


def scan_text(text: str, *, target: Target = "input", subtype: Subtype = "llm") -> list[Finding]:
    """Scans a text with the rules of the settings; works without monitoring.

    Args:
        text: What to look at.
        target: ``input`` for what goes to a model or tool, ``output`` for what comes back.
        subtype: The surface: ``llm``, ``tool_call``, ``tool_result``, ``tool_definition``, ``system``, ``memory``.

    Returns:
        The findings in the order of their place; offsets are code points of `text`.
    """
    return _scanner().text(text, target=target, subtype=subtype)


def _settings() -> Settings:
    module = sys.modules.get("cylestio_monitor.otel.setup")
    running = module.running() if module is not None else None
    return running.loaded.settings if running is not None else load().settings


_default: Scanner | None = None
_lock = threading.Lock()


def _scanner() -> Scanner:
    """The running scanner, else one for the settings, made once; rules stay as they were when it was made."""
    global _default  # noqa: PLW0603 -- compiling the rules again for every text would cost a hundred times the scan
    from cylestio_monitor.otel import setup  # noqa: PLC0415 -- as above

    running = setup.running()
    if running is not None:
        return running.scanner
    with _lock:
        if _default is None:
            loaded = load()
            loaded.report(log)
            _default = setup.scanner(loaded, os.urandom(32))
        return _default


def _report_unsupported(client: object) -> None:
    from cylestio_monitor.otel import instrumentors  # noqa: PLC0415 -- as above

    sdk = type(client).__module__.partition(".")[0]
    if all(entry.name != f"{instrumentors.PREFIX}{sdk}" for entry in instrumentors.found()):
        log.warning("Clients of %s are not supported: their calls are not monitored", sdk)
