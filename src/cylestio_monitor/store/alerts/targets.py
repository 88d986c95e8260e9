"""The places that alerts are sent to: a signed webhook, e-mail, and the services that `apprise` knows.

A webhook follows Standard Webhooks: the headers ``webhook-id`` (equal for every attempt, so that a receiver can drop a
repetition), ``webhook-timestamp`` and ``webhook-signature``: ``v1,`` and the base64 of the HMAC-SHA256 over id,
timestamp and body, joined by points. Redirects are not followed. No error names an address or a secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import os
import smtplib
import ssl
import time
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cylestio_monitor._version import __version__
from cylestio_monitor.config.alerts import mail_server
from cylestio_monitor.store.alerts import message as messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor import config
    from cylestio_monitor.store.alerts.alert_table import AlertMessage

TIMEOUT_S: Final = 10.0
"""Longest wait for one answer, in seconds."""

INSTALL: Final = "pip install 'cylestio-monitor[alerts]'"
_MOST_WAIT_S: Final = 86_400
_SECRET_BYTES: Final = 16


class DeliveryError(Exception):
    """A message was not accepted.

    Attributes:
        is_final: Another attempt is of no use.
        wait_s: Seconds that the target asks to wait; `None` where it asks for none.
    """

    def __init__(self, reason: str, *, is_final: bool = False, wait_s: float | None = None) -> None:
        """Takes the reason: one sentence without address and secret."""
        super().__init__(reason)
        self.is_final = is_final
        self.wait_s = wait_s


def send(
    target: config.TargetSettings,
    message: AlertMessage,
    *,
    timeout_s: float = TIMEOUT_S,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Sends one message.

    Args:
        target: The place.
        message: The alert.
        timeout_s: Longest wait for one answer, in seconds.
        environ: Holds the secrets; `os.environ` without it.

    Raises:
        DeliveryError: It was not accepted.
    """
    secrets = os.environ if environ is None else environ
    try:
        if target.webhook:
            _post(target, message, timeout_s, secrets)
        elif target.email:
            _mail(target, message, timeout_s, secrets)
        else:
            _notify(target, message, secrets)
    except DeliveryError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise DeliveryError("its certificate is not valid") from error
    except TimeoutError as error:
        raise DeliveryError("no answer in time") from error
    except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as error:
        raise DeliveryError(f"it cannot be reached ({type(error).__name__})") from error


def _secret(name: str | None, secrets: Mapping[str, str]) -> str:
    value = secrets.get(name or "", "")
    if not value:
        raise DeliveryError(f"the environment variable {name} is not set")
    return value


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Returns the signature of a webhook.

    Args:
        secret: ``whsec_`` and base64, or any text of at least 16 bytes.
        message_id: The id of the message.
        timestamp: Seconds since the epoch.
        body: The bytes of the request.

    Raises:
        DeliveryError: The secret is too short or no base64.
    """
    try:
        encoded = secret.removeprefix("whsec_")
        key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
    except binascii.Error as error:
        raise DeliveryError("the secret begins with whsec_ and is no base64") from error
    if len(key) < _SECRET_BYTES:
        raise DeliveryError(f"the secret is shorter than {_SECRET_BYTES} bytes")
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _post(target: config.TargetSettings, message: AlertMessage, timeout_s: float, secrets: Mapping[str, str]) -> None:
    parts = urlsplit(target.webhook or "")
    body, now = messages.body(message), int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"cylestio-monitor/{__version__}",
        "webhook-id": message.id,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(_secret(target.webhook_secret, secrets), message.id, now, body),
    }
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout_s)
    )
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        status, wait = answer.status, answer.getheader("Retry-After", "")
        answer.close()
    finally:
        connection.close()
    if not 200 <= status < 300:
        # 410: the receiver wants no more of this.
        wait_s = min(float(wait), _MOST_WAIT_S) if wait.isascii() and wait.isdecimal() else None
        raise DeliveryError(f"it answered HTTP {status}", is_final=status == 410, wait_s=wait_s)


def _mail(target: config.TargetSettings, message: AlertMessage, timeout_s: float, secrets: Mapping[str, str]) -> None:
    host, port = mail_server(target.smtp)
    mail = EmailMessage()
    mail["Subject"] = messages.title(message)
    mail["From"], mail["To"] = target.sender, ", ".join(target.email)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.created_ns // 1_000_000_000, timezone.utc))
    # The same for every attempt: mail programs show a repetition once.
    mail["Message-ID"] = f"<{message.id}@cylestio-monitor.invalid>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(messages.text(message))
    context = ssl.create_default_context()
    if target.smtp_security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=timeout_s, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=timeout_s)
    with server:
        if target.smtp_security == "starttls":
            server.starttls(context=context)
        if target.smtp_user:
            server.login(target.smtp_user, _secret(target.smtp_password, secrets))
        refused = server.send_message(mail)
    if refused:
        raise DeliveryError(f"the mail server refused {len(refused)} of {len(target.email)} addresses", is_final=True)


def _notify(target: config.TargetSettings, message: AlertMessage, secrets: Mapping[str, str]) -> None:
    url = _secret(target.apprise, secrets)
    try:
        import apprise  # noqa: PLC0415 -- an extra, and half a second
    except ImportError as error:
        raise DeliveryError(f"it needs the package apprise: {INSTALL}", is_final=True) from error
    service = apprise.Apprise()
    if not service.add(url):
        raise DeliveryError(f"the environment variable {target.apprise} holds no URL that apprise knows")
    if not service.notify(
        title=messages.title(message), body=messages.text(message), body_format=apprise.NotifyFormat.TEXT
    ):
        raise DeliveryError("the service did not accept it")
