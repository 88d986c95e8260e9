"""Sign-ins that the application reports: repeated failures, many users from one address, and changed roles.

Only what the events say is concluded: an event without a user, an address, an outcome or roles says nothing about them.
What is remembered is bounded, per process, and consists of hashes; of what is forgotten nothing is said.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cylestio_monitor.govern.recent import entry_of
from cylestio_monitor.model import ALERT_OF, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor.config import AuthenticationSettings
    from cylestio_monitor.model import Severity

EVENT_TYPE: Final = "user_authentication"
"""The type of the events that report a sign-in."""

REPEATED_FAILURES: Final = "authentication.repeated-failures"
MANY_USERS: Final = "authentication.many-users"
ROLE_CHANGE: Final = "authentication.role-change"

_MAX_REMEMBERED: Final = 100_000  # sign-ins of each kind that are remembered
_MAX_ROLES: Final = 64
_MAX_CHARACTERS: Final = 1024
_TAGS: Final = ("ASI03",)

_USER: Final = ("user", "user_id", "username", "user.id", "user.name", "enduser.id")
_ADDRESS: Final = ("address", "client.address", "client_ip", "ip", "ip_address", "source_ip", "source.ip")
_OUTCOME: Final = ("granted", "success", "authenticated", "outcome", "result", "status", "event.outcome")
_ROLES: Final = ("roles", "role", "user.roles")
_SUCCESS: Final = frozenset({"success", "successful", "succeeded", "granted", "allowed", "ok", "authenticated", "true"})
_FAILURE: Final = frozenset({"failure", "failed", "fail", "denied", "rejected", "refused", "invalid", "false"})


class SignIn(NamedTuple):
    """One sign-in as its event reports it; ``None`` for what it does not say.

    Attributes:
        user: The name of the user.
        address: The network address of the user.
        granted: Whether the user was let in.
        roles: The roles that the user has now.
    """

    user: str | None
    address: str | None
    granted: bool | None
    roles: frozenset[str] | None


class SignInFinding(NamedTuple):
    """A conclusion about sign-ins.

    Attributes:
        finding: The finding, without the hash of what it is about.
        subject: The user or the address that it is about.
        user: The user of the event.
    """

    finding: Finding
    subject: str
    user: str | None


def read_sign_in(data: Mapping[str, Any]) -> SignIn:
    """Reads the data of an event of type `EVENT_TYPE`."""
    outcomes = {_outcome(data[name]) for name in _OUTCOME if name in data} - {None}
    given = next((data[name] for name in _ROLES if data.get(name) is not None), None)
    roles = None
    if isinstance(given, str):
        roles = frozenset({given} if given else ())
    elif isinstance(given, (list, tuple, set, frozenset)) and len(given) <= _MAX_ROLES:
        roles = frozenset(str(role) for role in given)
    # Two keys that contradict each other say nothing.
    return SignIn(_text(data, _USER), _text(data, _ADDRESS), outcomes.pop() if len(outcomes) == 1 else None, roles)


class _Attempts:
    """The users who signed in from one address: when last, and whether an attempt failed."""

    __slots__ = ("users",)

    def __init__(self) -> None:
        self.users: OrderedDict[bytes, tuple[int, bool]] = OrderedDict()

    def add(self, user: bytes, now_ns: int, since_ns: int, *, failed: bool) -> None:
        """Takes an attempt, and forgets those before `since_ns`."""
        before = self.users.pop(user, None)
        self.users[user] = now_ns, failed or (before is not None and before[0] >= since_ns and before[1])
        while next(iter(self.users.values()))[0] < since_ns:
            self.users.popitem(last=False)


class SignInWatch:
    """Draws conclusions from sign-ins, in any thread."""

    def __init__(self, settings: AuthenticationSettings) -> None:
        """Knows no sign-in yet.

        Args:
            settings: Window and thresholds.
        """
        self._settings = settings
        self._failures: OrderedDict[bytes, deque[int]] = OrderedDict()
        self._addresses: OrderedDict[bytes, _Attempts] = OrderedDict()
        self._roles: OrderedDict[bytes, frozenset[bytes]] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()

    def observe(self, data: Mapping[str, Any], now_ns: int) -> list[SignInFinding]:
        """Takes the data of an event, unmasked, and returns the findings that it completes.

        A finding is raised again only when the threshold is reached anew.

        Args:
            data: The data of the event.
            now_ns: Its time, in ns since the epoch.
        """
        sign_in = read_sign_in(data)
        since_ns = now_ns - self._settings.window_s * 1_000_000_000
        with self._lock:
            self._count += 1
            found = [
                self._repeated_failures(sign_in, now_ns, since_ns),
                self._many_users(sign_in, now_ns, since_ns),
                self._role_change(sign_in),
            ]
        return [one for one in found if one is not None]

    def _repeated_failures(self, sign_in: SignIn, now_ns: int, since_ns: int) -> SignInFinding | None:
        limit = self._settings.failures
        if not limit or sign_in.user is None or sign_in.granted is not False:
            return None
        key = _hash(sign_in.user)
        times: deque[int] = entry_of(self._failures, key, deque, _MAX_REMEMBERED // limit)
        times.append(now_ns)
        while times[0] < since_ns:
            times.popleft()
        if len(times) < limit:
            return None
        del self._failures[key]
        reason = f"{limit} failures in {self._settings.window_s} s"
        return self._finding(REPEATED_FAILURES, "medium", "user", sign_in.user, sign_in, reason)

    def _many_users(self, sign_in: SignIn, now_ns: int, since_ns: int) -> SignInFinding | None:
        limit = self._settings.users
        if not limit or sign_in.address is None or sign_in.user is None:
            return None
        key = _hash(sign_in.address)
        attempts = entry_of(self._addresses, key, _Attempts, _MAX_REMEMBERED // limit)
        attempts.add(_hash(sign_in.user), now_ns, since_ns, failed=sign_in.granted is False)
        if len(attempts.users) < limit:
            return None
        del self._addresses[key]
        failed = sum(has_failed for _, has_failed in attempts.users.values())
        reason = f"{limit} users in {self._settings.window_s} s, {failed} with failures"
        # Many people behind one router sign in from one address; most of them succeed.
        severity: Severity = "medium" if failed * 2 >= limit else "low"
        return self._finding(MANY_USERS, severity, "address", sign_in.address, sign_in, reason)

    def _role_change(self, sign_in: SignIn) -> SignInFinding | None:
        if not self._settings.role_changes or sign_in.user is None or sign_in.roles is None or sign_in.granted is False:
            return None
        key, now = _hash(sign_in.user), frozenset(map(_hash, sign_in.roles))
        before = self._roles.pop(key, None)
        self._roles[key] = now
        if len(self._roles) > _MAX_REMEMBERED // 10:
            self._roles.popitem(last=False)
        if before is None or before == now:
            return None
        gained, lost = len(now - before), len(before - now)
        reason = f"{gained} roles gained, {lost} lost"
        return self._finding(ROLE_CHANGE, "medium" if gained else "low", "roles", sign_in.user, sign_in, reason)

    def _finding(
        self, rule: str, severity: Severity, field: str, subject: str, sign_in: SignIn, reason: str
    ) -> SignInFinding:
        finding = Finding(
            rule,
            "authentication",
            severity,
            ALERT_OF[severity],
            "input",
            "event",
            f"{EVENT_TYPE}[{self._count}].{field}",
            0,
            len(subject),
            owasp=_TAGS,
            reason=reason,
        )
        return SignInFinding(finding, subject, sign_in.user)


def _text(data: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = data.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and (text := str(value).strip()):
            return text if len(text) <= _MAX_CHARACTERS else None
    return None


def _outcome(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    return True if word in _SUCCESS else False if word in _FAILURE else None


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
