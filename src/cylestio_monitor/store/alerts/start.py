"""The sender of alerts of this process, where the settings ask for one."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cylestio_monitor import config
    from cylestio_monitor.store import Store
    from cylestio_monitor.store.alerts.sender import AlertSender

log = logging.getLogger("cylestio_monitor")


def make_sender(store: Store, settings: config.AlertSettings) -> AlertSender | None:
    """Returns a sender that follows a store; `None` without a condition or a target."""
    if not (settings.conditions and settings.targets):
        return None
    from cylestio_monitor.store.alerts.sender import AlertSender  # noqa: PLC0415 -- only where there are alerts

    for target in settings.targets:
        for variable in (target.webhook_secret, target.smtp_password, target.apprise):
            if variable and not os.environ.get(variable):
                log.warning("Alerts are not sent to %s: the environment variable %s is not set", target.name, variable)
    return AlertSender(store, settings)
