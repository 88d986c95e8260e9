"""Reports sign-ins, so that what an agent did can be told by user, and a guessed password is seen."""

from __future__ import annotations

import hashlib
import hmac

from cylestio_monitor import identify, log_event, start_monitoring, stop_monitoring

SALT = b"a salt of your own"
USERS = {"ada": hashlib.scrypt(b"correct horse", salt=SALT, n=2**12, r=8, p=1)}
ROLES = {"ada": ["support"]}


def sign_in(user: str, password: str, address: str) -> bool:
    """Whether the user may come in. The password is not recorded; the user's name is what an auditor asks for."""
    given = hashlib.scrypt(password.encode(), salt=SALT, n=2**12, r=8, p=1)
    granted = hmac.compare_digest(USERS.get(user, b""), given)
    log_event(
        "user_authentication",
        {
            "user": user,
            "granted": granted,
            "address": address,
            "method": "password",
            "roles": ROLES.get(user, []) if granted else None,
        },
        channel="AUTH",
        level="INFO" if granted else "WARNING",
    )
    return granted


if __name__ == "__main__":
    start_monitoring("support-agent", {"authentication": {"failures": 3}})
    for password in ("letmein", "123456", "correct battery"):
        print(sign_in("ada", password, "192.0.2.7"))
    if sign_in("ada", "correct horse", "192.0.2.7"):
        with identify(user_id="ada", roles=ROLES["ada"], session_id="s-1"):
            # Every LLM and tool call made here carries the user and the session.
            log_event("session_started", channel="AUTH")
    stop_monitoring()
