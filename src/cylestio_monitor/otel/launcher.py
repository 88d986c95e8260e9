"""What `opentelemetry-instrument` calls. Nothing here raises: one error would abort every other instrumentation too."""

from __future__ import annotations

import logging
import os

log = logging.getLogger("cylestio_monitor")


def pre_instrument() -> None:
    """Starts monitoring and sets every hook: the `opentelemetry_pre_instrument` entry point.

    The launcher would set the hooks itself, but in no order that can be told, and what another instrumentation has put
    in front of the methods that ours wrap may pass them by.
    """
    try:
        from cylestio_monitor.otel import environment_variables, setup  # noqa: PLC0415 -- nothing outside the guard

        environment_variables.apply_flags(os.environ)
        setup.start()
    except Exception:
        log.warning("Monitoring could not start; the application runs on without it", exc_info=True)


def post_instrument() -> None:
    """Takes the hooks off again where the settings say `enabled: false`: `opentelemetry_post_instrument`."""
    try:
        from cylestio_monitor.otel import instrumentors, setup  # noqa: PLC0415 -- nothing outside the guard

        if setup.running() is None:
            instrumentors.uninstrument()
    except Exception:
        log.warning("The hooks could not be taken off", exc_info=True)
