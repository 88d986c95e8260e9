"""Settings: the table of every setting, and the functions that load it from files, variables and arguments.

`settings` declares every setting once: type, default, bounds, environment variable, description, and how far a settings
file in the working directory may change it. `loading` reads the layers and merges them; a wrong value never raises, it
becomes an entry of `Loaded.problems`.
"""

from __future__ import annotations

from cylestio_monitor.config.actors import AuthenticationSettings, IdentitySettings
from cylestio_monitor.config.alerts import AlertSettings, ConditionSettings, TargetSettings
from cylestio_monitor.config.loading import InlinePolicy, Loaded, load
from cylestio_monitor.config.locations import CONFIG_VARIABLE, FILE_NAME, cache_folder, database_path
from cylestio_monitor.config.moderation import ModerationSettings
from cylestio_monitor.config.settings import (
    CONTENT_VARIABLE,
    ApprovalSettings,
    ControlSettings,
    DetectorSettings,
    KeywordSettings,
    LimitSettings,
    LogSettings,
    Option,
    OverrideSettings,
    PriceSettings,
    RuleSettings,
    ScanSettings,
    SemconvSettings,
    Settings,
    SilenceSettings,
    StoreSettings,
    content_mode,
    json_schema,
    options,
)

__all__ = [
    "CONFIG_VARIABLE",
    "CONTENT_VARIABLE",
    "FILE_NAME",
    "AlertSettings",
    "ApprovalSettings",
    "AuthenticationSettings",
    "ConditionSettings",
    "ControlSettings",
    "DetectorSettings",
    "IdentitySettings",
    "InlinePolicy",
    "KeywordSettings",
    "LimitSettings",
    "Loaded",
    "LogSettings",
    "ModerationSettings",
    "Option",
    "OverrideSettings",
    "PriceSettings",
    "RuleSettings",
    "ScanSettings",
    "SemconvSettings",
    "Settings",
    "SilenceSettings",
    "StoreSettings",
    "TargetSettings",
    "cache_folder",
    "content_mode",
    "database_path",
    "json_schema",
    "load",
    "options",
]
