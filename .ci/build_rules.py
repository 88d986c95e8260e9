"""Compiles the rules of the package into its file of compiled rules, where that is not up to date.

The build of the package runs it as a hook of hatch. `.ci/setup` runs it as a script, so that a checkout has the file
too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parents[1] / "src"

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # as a script, in an environment without the build tool
    BuildHookInterface = object


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc, unused-ignore]  # either of two bases
    """Hook of hatch: puts the file of compiled rules into wheels and editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 -- the signature of hatch
        """Compiles the rules before the files are collected.

        Args:
            version: Kind of the wheel, ``standard`` or ``editable``.
            build_data: Receives the file, which version control ignores.
        """
        try:
            written = build()
        except ImportError as error:
            # The package works without the file: it compiles the rules when it is first used.
            self.app.display_warning(f"the rules are not compiled: {error}")
            return
        build_data["artifacts"].append(f"/{written.relative_to(SOURCES.parent).as_posix()}")


def build() -> Path:
    """Compiles the rules where their file is not up to date; returns the file."""
    sys.path.insert(0, str(SOURCES))
    from cylestio_monitor.scan.matching import rule_cache, rule_set  # noqa: PLC0415 -- from the sources of this checkout

    rule_set.build_shipped()
    return rule_cache.SHIPPED


if __name__ == "__main__":
    build()
