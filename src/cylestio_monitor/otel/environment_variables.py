"""The launcher's flags: one for every setting that a variable can hold.

`opentelemetry-instrument` makes a flag of each name here that begins with `OTEL_`, and sets the variable of that name
when the flag is given: `--cylestio_mode block` sets `OTEL_CYLESTIO_MODE`. `apply_flags` then gives the value to the
variable that is documented, `CYLESTIO_MODE`, because a flag wins over the environment it was given in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

PREFIX = "OTEL_"


def __dir__() -> list[str]:
    """The names that the launcher looks for; no other program needs them."""
    from cylestio_monitor import config  # noqa: PLC0415 -- as said

    options = [option.env for option in config.options() if option.from_text]
    return [f"{PREFIX}{name}" for name in (*options, config.CONFIG_VARIABLE)]


def apply_flags(environ: MutableMapping[str, str]) -> None:
    """Gives the values of the launcher's flags to the variables they stand for, once."""
    for name in [name for name in environ if name.startswith(f"{PREFIX}CYLESTIO_")]:
        environ[name.removeprefix(PREFIX)] = environ.pop(name)
