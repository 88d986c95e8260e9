"""The rules: YAML packs as data, and what reads them.

A rule is one entry of a YAML file under `packs`, or of a file of the user's. Nothing here matches any text.
"""

from cylestio_monitor.rules.loader import NOT_APPLIED, load_pack, load_packs, shipped_files
from cylestio_monitor.rules.model import CATEGORIES, Rule, json_schema

__all__ = ["CATEGORIES", "NOT_APPLIED", "Rule", "json_schema", "load_pack", "load_packs", "shipped_files"]
