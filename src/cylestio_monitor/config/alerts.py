"""The settings about alerts that the store's own sender sends: conditions, targets and quiet hours."""

import difflib
import re
from collections.abc import Collection, Iterator  # noqa: TC003 -- msgspec evaluates the annotations of this module
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from cylestio_monitor.config.section import Section, setting
from cylestio_monitor.config.transport import LOOPBACK, is_protected

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_ADDRESS = re.compile(r"[^\s@<>,;\"]{1,64}@[^\s@<>,;\"]{1,255}")
_UNSAFE = re.compile(r"[^!-~]")


def quiet_minutes(text: str) -> tuple[int, int]:
    """Returns begin and end of quiet hours, in minutes since midnight.

    Raises:
        ValueError: The text has another form.
    """
    match = _QUIET.fullmatch(text)
    if match is None or match[1] + match[2] == match[3] + match[4]:
        raise ValueError("must be two different times of day, as `22:00-07:00`")
    return int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])


def _check_quiet_hours(text: str | None) -> None:
    """Raises `ValueError` for quiet hours of another form."""
    if text is not None:
        quiet_minutes(text)


def _check_timezone(name: str) -> None:
    """Raises `ValueError` for a time zone that is not known here."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 -- few settings files name a time zone

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError("must be a time zone that is known here, such as `Europe/Berlin`") from None


class ConditionSettings(Section, frozen=True, kw_only=True):
    """One condition; a finding must fit every criterion that is given."""

    name: Annotated[str, setting("Name of the condition, in the message.")]
    severity: Annotated[Literal["low", "medium", "high", "critical"], setting("The lowest severity that counts.")] = (
        "high"
    )
    categories: Annotated[tuple[str, ...], setting("Categories, such as `secret`; without any, all.")] = ()
    rules: Annotated[tuple[str, ...], setting("Rule ids, or prefixes ending in `*`; without any, all.")] = ()
    agents: Annotated[tuple[str, ...], setting("Agent ids, or prefixes ending in `*`; without any, all.")] = ()
    count: Annotated[int, setting("The number of findings from which on it holds.", ge=1, le=10_000)] = 1
    within: Annotated[Literal["minute", "hour", "day"], setting("The period in which `count` findings must come.")] = (
        "hour"
    )
    group_by: Annotated[
        tuple[Literal["rule", "category", "agent", "session", "user", "tool", "group"], ...],
        setting("Findings that are equal in these are one alert."),
    ] = ("rule", "agent")
    targets: Annotated[tuple[str, ...], setting("Names of targets; without any, all.")] = ()

    def __post_init__(self) -> None:
        """Refuses a condition without a name."""
        if not self.name.strip():
            raise ValueError("must not be empty - at `$.name`")


class TargetSettings(Section, frozen=True, kw_only=True):
    """One place that alerts are sent to: a webhook, e-mail addresses, or a service of `apprise`."""

    name: Annotated[str, setting("Name of the target.")]
    webhook: Annotated[str | None, setting("URL that each alert is posted to, signed; `https`, or loopback.")] = None
    webhook_secret: Annotated[str | None, setting("Environment variable that holds the key of the signatures.")] = None
    email: Annotated[tuple[str, ...], setting("Addresses that get each alert as e-mail.")] = ()
    sender: Annotated[str | None, setting("Address that the e-mails come from.")] = None
    smtp: Annotated[str, setting("Mail server, as `host` or `host:port`.")] = "localhost:25"
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"], setting("Encryption to the mail server; `none` only on loopback.")
    ] = "starttls"
    smtp_user: Annotated[str | None, setting("User at the mail server.")] = None
    smtp_password: Annotated[str | None, setting("Environment variable that holds the password.")] = None
    apprise: Annotated[
        str | None, setting("Environment variable that holds the URL of a service that `apprise` knows.")
    ] = None

    def __post_init__(self) -> None:
        """Refuses a target that could not be reached, or only without protection."""
        if not self.name.strip():
            raise ValueError("must not be empty - at `$.name`")
        if [bool(self.webhook), bool(self.email), bool(self.apprise)].count(True) != 1:
            raise ValueError("needs exactly one of `webhook`, `email` and `apprise`")
        for key in ("webhook_secret", "smtp_password", "apprise"):
            name = getattr(self, key)
            if name is not None and not _VARIABLE.fullmatch(name):
                raise ValueError(f"must be the name of an environment variable, not the secret itself - at `$.{key}`")
        if self.webhook:
            _check_webhook(self)
        if self.email:
            _check_email(self)


class AlertSettings(Section, frozen=True, kw_only=True):
    """Alerts that the store's own sender sends, without a collector."""

    conditions: Annotated[tuple[ConditionSettings, ...], setting("Conditions; a finding may fit several.")] = ()
    targets: Annotated[tuple[TargetSettings, ...], setting("Places that alerts are sent to.")] = ()
    gather_s: Annotated[int, setting("Seconds that a first finding waits for more of its group.", ge=0, le=3600)] = 15
    window_minutes: Annotated[
        int, setting("Minutes after a message in which its group sends no other one.", ge=1, le=1440)
    ] = 60
    quiet_hours: Annotated[
        str | None,
        setting(
            "Hours in which alerts wait, as `22:00-07:00`; alerts of `quiet_severity` are sent all the same.",
            check=_check_quiet_hours,
        ),
    ] = None
    quiet_severity: Annotated[
        Literal["low", "medium", "high", "critical"], setting("The lowest severity that is sent in quiet hours.")
    ] = "critical"
    timezone: Annotated[
        str, setting("Time zone of the quiet hours, such as `Europe/Berlin`.", check=_check_timezone)
    ] = "UTC"
    retry_hours: Annotated[int, setting("Hours for which a message is tried again.", ge=1, le=168)] = 24


def _check_webhook(target: TargetSettings) -> None:
    try:
        parts = urlsplit(target.webhook or "")
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.username is not None or _UNSAFE.search(target.webhook or ""):
        raise ValueError("must be a URL without user and password - at `$.webhook`")
    if not is_protected(parts):
        raise ValueError("must be `https`, or `http` on loopback - at `$.webhook`")
    if target.webhook_secret is None:
        raise ValueError("needs `webhook_secret`, the environment variable with the key of the signatures")


def _check_email(target: TargetSettings) -> None:
    for number, address in enumerate(target.email):
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"must be an e-mail address - at `$.email[{number}]`")
    if target.sender is None:
        raise ValueError("needs `sender`, the address that the e-mails come from")
    if not _ADDRESS.fullmatch(target.sender):
        raise ValueError("must be an e-mail address - at `$.sender`")
    host, port = mail_server(target.smtp)
    if not host or not 0 < port < 65_536:
        raise ValueError("must be `host` or `host:port` - at `$.smtp`")
    if target.smtp_security == "none" and host not in LOOPBACK:
        raise ValueError("may be `none` only for a mail server on loopback - at `$.smtp_security`")


def mail_server(text: str) -> tuple[str, int]:
    """Returns host and port of a mail server; port 0 for a text that is none."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|([^\s:/\[\]@]+)(?::(\d{1,5}))?", text)
    if bracketed is None:
        return "", 0
    return bracketed[1] or bracketed[3], int(bracketed[2] or bracketed[4] or 25)


def unknown_targets(conditions: Any, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yields key and reason of each target that a condition names and that does not exist.

    Args:
        conditions: The list as it was read.
        names: Names of the targets.
    """
    for number, condition in enumerate(conditions if isinstance(conditions, list) else ()):
        targets = condition.get("targets") if isinstance(condition, dict) else None
        for place, name in enumerate(targets if isinstance(targets, list) else ()):
            if isinstance(name, str) and name not in names:
                near = difflib.get_close_matches(name, names, 1, 0.6)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield f"alerts.conditions[{number}].targets[{place}]", f"names no target{hint}"
