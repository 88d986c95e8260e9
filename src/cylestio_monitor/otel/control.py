"""Makes the controller of tool calls from the settings: policy, limits, approvals and what they record."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cylestio_monitor.errors import CylestioError
from cylestio_monitor.govern.approvals import FrameworkApprovals, MemoryLedger
from cylestio_monitor.govern.controller import Controller
from cylestio_monitor.govern.definitions import Pins, ToolDefinitions, load_pins
from cylestio_monitor.govern.limits import Price
from cylestio_monitor.govern.policy import Policy, PolicyDocument, loader

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor import config
    from cylestio_monitor.govern.approvals import ApprovalLedger, ApprovalRequest, Approvals
    from cylestio_monitor.govern.approvals.waiting import Decider
    from cylestio_monitor.govern.limits import CallLimiter, CounterStorage
    from cylestio_monitor.store import Store

log = logging.getLogger("cylestio_monitor")

approval_callbacks: list[Callable[[ApprovalRequest], bool | None]] = []
"""Functions of the application that decide about held calls; `api.on_approval` adds one."""

_last_good: Policy | None = None


def make_controller(loaded: config.Loaded, store: Store | None) -> Controller:
    """The controller for these settings.

    Args:
        loaded: The settings.
        store: The store, which keeps approvals and outcomes.
    """
    settings = loaded.settings
    key = store.key if store is not None else os.urandom(32)
    policy = _policy(loaded, key)
    enforces = settings.mode == "block"
    if policy is not None and policy.document.mode is not None:
        enforces = policy.document.mode == "block"
    ledger = _ledger(store)
    return Controller(
        key=key,
        policy=policy,
        enforces=enforces,
        limiter=_limiter(settings.control, store),
        prices={one.model: Price(one.input, one.output) for one in settings.control.prices},
        approvals=_approvals(settings, ledger) if policy is not None else None,
        framework_approvals=FrameworkApprovals(ledger),
        approval_s=settings.approvals.timeout_s,
        traces_values=settings.control.provenance,
        invalid_arguments=settings.control.invalid_arguments,
        recorder=_recorder(store),
        definitions=_definitions(settings.control, store),
    )


def _policy(loaded: config.Loaded, key: bytes) -> Policy | None:
    """The policy of the settings; of a wrong one, the last good one, or one that denies tools in mode ``block``."""
    global _last_good  # noqa: PLW0603 -- a policy that was in force stays so while its file is being edited
    found = loader.configured(loaded, key)
    if found is None:
        _last_good = None
        return None
    for problem in found.problems:
        log.warning("%s", problem)
    if found.policy is not None:
        _last_good = found.policy
        return found.policy
    if _last_good is not None:
        log.error("The policy cannot be used; the policy that was in force before stays")
        return _last_good
    if (found.mode or loaded.settings.mode) != "block":
        log.error("The policy cannot be used; no policy is in force")
        return None
    log.error("The policy cannot be used; every tool call is denied until it can")
    return Policy(PolicyDocument(version="unusable", mode="block", default="deny"), key)


def _limiter(settings: config.ControlSettings, store: Store | None) -> CallLimiter | None:
    if not settings.limits:
        return None
    from cylestio_monitor.govern.limits import CallLimiter, Limit, UnusableLimiter  # noqa: PLC0415 -- only where there are limits

    limits = [Limit(one.name, one.measure, one.amount, one.per, one.by, one.tool) for one in settings.limits]
    try:
        return CallLimiter(limits, _counters(settings.counters, store))
    except Exception as error:  # noqa: BLE001 -- whatever the storage of a library raises: it is said, and the limits stay
        log.error("The limits are counted in this process alone: %s", error)  # noqa: TRY400 -- the message names the cause
    try:
        return CallLimiter(limits)
    except ValueError as error:
        log.error("The limits cannot be counted, and mode block refuses every call: %s", error)  # noqa: TRY400 -- as above
        return UnusableLimiter(limits, str(error))


def _counters(named: str, store: Store | None) -> CounterStorage | str:
    """The storage of the limits.

    Raises:
        ValueError: The store is named, and there is none.
    """
    if named != "store":
        return named
    if store is None:
        raise ValueError("control.counters names the store, and there is none")
    from cylestio_monitor.store.control.counters import StoreCounters  # noqa: PLC0415 -- only where there are limits

    counters: CounterStorage = StoreCounters(store.path, store.settings)
    return counters


def _ledger(store: Store | None) -> ApprovalLedger:
    if store is None:
        return MemoryLedger()
    from cylestio_monitor.store.control.approvals import StoredApprovals  # noqa: PLC0415 -- only where there is a store

    return StoredApprovals(store.path, store.settings)


def _approvals(settings: config.Settings, ledger: ApprovalLedger) -> Approvals:
    from cylestio_monitor.govern.approvals import Approvals  # noqa: PLC0415 -- only with a policy
    from cylestio_monitor.govern.approvals.deciders import (  # noqa: PLC0415 -- as above
        CallbackDecider,
        TerminalDecider,
        WebhookDecider,
    )

    deciders: list[Decider] = [CallbackDecider(_ask_application)]
    if settings.approvals.terminal:
        deciders.append(TerminalDecider())
    if settings.approvals.webhook:
        secret = os.environ.get(settings.approvals.webhook_secret or "", "").encode()
        try:
            deciders.append(WebhookDecider(settings.approvals.webhook, secret))
        except ValueError as error:
            log.error("The approval webhook is not used: %s", error)  # noqa: TRY400 -- the message names the cause
    return Approvals(ledger, deciders)


def _ask_application(request: ApprovalRequest) -> bool | None:
    for callback in approval_callbacks:
        answer = callback(request)
        if answer is not None:
            return answer
    return None


def _definitions(settings: config.ControlSettings, store: Store | None) -> ToolDefinitions:
    """The versions of tool definitions; of pins that cannot be read, none counts as approved."""
    pins, refuses = Pins({}), settings.tool_definitions
    if settings.pins:
        try:
            pins = load_pins(Path(settings.pins).expanduser())
        except CylestioError as error:
            log.error("Only tool definitions that are approved in the store may be called in mode block: %s", error)  # noqa: TRY400 -- the message names the cause
            refuses = "unapproved"
    if store is None:
        return ToolDefinitions(refuses=refuses, pins=pins.load())
    from cylestio_monitor.store.control.definitions import StoredDefinitions  # noqa: PLC0415 -- as above

    return ToolDefinitions(refuses=refuses, pins=pins.load(), storage=StoredDefinitions(store))


def _recorder(store: Store | None) -> Callable[..., None] | None:
    if store is None:
        return None
    from cylestio_monitor.store.control.outcomes import record  # noqa: PLC0415 -- only where there is a store

    return lambda outcome, place, enforced: record(store, outcome, place, enforced=enforced)
