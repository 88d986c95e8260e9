"""Entry points of `opentelemetry-instrument`. They never raise: one error aborts every other instrumentation too."""

from __future__ import annotations

import logging
import os

log = logging.getLogger("cylestio_monitor")


def pre_instrument() -> None:
    """Starts monitoring and installs every hook: the `opentelemetry_pre_instrument` entry point.

    The launcher would install the hooks too, but in an undefined order, and a wrapper that another instrumentation has
    installed before ours may bypass it.
    """
    try:
        from cylestio_monitor.otel import environment_variables, setup  # noqa: PLC0415 -- nothing outside the guard

        environment_variables.apply_flags(os.environ)
        setup.start(is_launched=True)
    except Exception:
        # An error here would abort all instrumentation of the process, and must not keep the application from running.
        log.warning("Monitoring could not start; the application runs on without it", exc_info=True)


def post_instrument() -> None:
    """Removes the hooks if the settings disable monitoring: the `opentelemetry_post_instrument` entry point."""
    try:
        from cylestio_monitor.otel import instrumentors, setup  # noqa: PLC0415 -- nothing outside the guard

        if setup.running() is None:
            instrumentors.uninstrument()
    except Exception:
        # As above.
        log.warning("The hooks could not be removed", exc_info=True)
