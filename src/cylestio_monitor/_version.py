"""The version of the package. The build reads it from here, and no module has to import the package to know it."""

from __future__ import annotations

__version__ = "1.0.0"
