"""The base of the sections of the settings, and the row that each of their fields has in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Callable

Local: TypeAlias = Literal["no", "greater", "less", "add", "label", "path", "paths", "critical"]
"""The change that a settings file in the working directory may make to a setting.

``no``: none. ``greater`` and ``less``: only towards the larger or smaller value; a `Literal` has the order of its
values, and ``true`` is greater than ``false``. ``add``: items are added to the list. ``label``: a free value where no
trusted source sets one. ``path``: a path inside the folder of the file. ``paths``: such paths are added to the list.
``critical``: entries that raise a severity to ``critical``.
"""


def setting(
    text: str,
    *,
    env: str | None = None,
    local: Local = "no",
    check: Callable[[Any], object] | None = None,
    **bounds: Any,
) -> Meta:
    """Declares one row of the table.

    Args:
        text: The description.
        env: The environment variable; without it, ``CYLESTIO_`` and the key in upper case.
        local: The change that a settings file in the working directory may make.
        check: Raises `ValueError` for a value, or an item of a list, that its type and bounds cannot exclude.
        bounds: Bounds of the value, as `msgspec.Meta` takes them.
    """
    return Meta(description=text, extra={"env": env, "local": local, "check": check}, **bounds)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every section: immutable, and an unknown key is an error."""
