"""Each kind of target against a real server: what arrives, and what becomes of faults."""

from __future__ import annotations

import email
import email.policy
import re
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from alerts.servers import SECRET, MailServer, Webhook
from cylestio_monitor import config
from cylestio_monitor.sanitize import one_line
from cylestio_monitor.store.alerts import targets
from cylestio_monitor.store.alerts.alert_table import AlertMessage

SECRETS = {"OPS_SECRET": SECRET, "MAIL": "pass word"}


def message(**changes):
    facts = {
        "rule_id": "secret.aws", "category": "secret", "severity": "high", "agent_id": "support", "session_id": "s",
        "trace_id": "a" * 32, "span_id": "b" * 16, "group": {"rule": "secret.aws"},
    } | changes  # fmt: skip
    return AlertMessage(
        id="msg_1", condition="severe", target="t", severity_number=3, findings=2, suppressed=4, first_ns=10**18,
        last_ns=10**18, attempts=1, created_ns=10**18, facts=facts,
    )  # fmt: skip


def mail_target(server, **changes):
    values = {"name": "m", "email": ("ops@example.org", "b@example.org"), "sender": "c@example.org"}
    return config.TargetSettings(**{**values, "smtp": server.address, "smtp_security": "none", **changes})


def parsed(server):
    return email.message_from_string(server.mails[-1], policy=email.policy.default)


def test_the_signature_is_that_of_standard_webhooks():
    # A vector of the specification's own libraries.
    made = targets.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_receiver_on_the_page_knows_genuine_messages():
    page = (Path(__file__).parents[2] / "docs/how-to/alert-without-a-collector.md").read_text("utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    with Webhook() as webhook:
        target = config.TargetSettings(name="w", webhook=webhook.url, webhook_secret="OPS_SECRET")
        targets.send(target, message(), environ=SECRETS)
        ((headers, body),) = webhook.seen
    is_genuine = names["is_genuine"]
    assert is_genuine(headers, body, b"k" * 24)
    assert not is_genuine(headers, body + b" ", b"k" * 24)
    assert not is_genuine(headers, body, b"j" * 24)
    assert not is_genuine({**headers, "webhook-timestamp": "1"}, body, b"k" * 24)


def test_an_e_mail_holds_the_message_and_says_where_to_look():
    with MailServer() as server:
        targets.send(mail_target(server), message(), environ=SECRETS)
        mail = parsed(server)
    assert mail["Subject"] == "[cylestio] high: secret.aws in agent support (2 findings)"
    assert (mail["To"], mail["From"]) == ("ops@example.org, b@example.org", "c@example.org")
    assert mail["Message-ID"] == "<msg_1@cylestio-monitor.invalid>"
    text = mail.get_content()
    assert f"cylestio incident open {'a' * 32}" in text
    assert "4 findings since the last message" in text


@pytest.mark.parametrize("name", ["a\r\nBcc: x@example.org", "a\nSubject: y", "\x1b[31m", "é\u202e", "x" * 10_000])
def test_no_name_becomes_a_header(name):
    with MailServer() as server:
        targets.send(mail_target(server), message(agent_id=one_line(name, 200)), environ=SECRETS)
        mail = parsed(server)
    assert mail["Bcc"] is None
    assert len(mail.get_all("Subject")) == 1


@pytest.fixture
def tls(tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def context(name):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(made)
        return made

    return context


def test_an_e_mail_is_encrypted_before_the_password_is_sent(tls):
    with MailServer(tls=tls("127.0.0.1")) as server:
        target = mail_target(server, smtp_security="starttls", smtp_user="u", smtp_password="MAIL")
        targets.send(target, message(), environ=SECRETS)
    assert server.logins == [b"\0u\0pass word"]
    assert server.was_encrypted == [True]


@pytest.mark.parametrize("name", ["another.example", None])
def test_nothing_is_sent_where_the_connection_cannot_be_encrypted(tls, name):
    with MailServer(tls=tls(name) if name else None) as server:
        target = mail_target(server, smtp_security="starttls", smtp_user="u", smtp_password="MAIL")
        with pytest.raises(targets.DeliveryError) as raised:
            targets.send(target, message(), environ=SECRETS, timeout_s=2)
    assert (server.mails, server.logins) == ([], [])
    assert "pass word" not in str(raised.value)


@pytest.mark.parametrize(
    "fault",
    [
        ("EHLO", "drop"),
        ("MAIL", "550 no"),
        ("RCPT", "550 no"),
        ("DATA", "451 later"),
        ("EHLO", "hang"),
        ("DATA", "drop"),
    ],
)
def test_a_mail_that_was_not_taken_is_one_clear_error(fault):
    with MailServer(faults=[fault]) as server, pytest.raises(targets.DeliveryError) as raised:
        targets.send(mail_target(server), message(), environ=SECRETS, timeout_s=0.3)
    assert server.mails == []
    assert server.address not in str(raised.value)


def closed_port():
    with MailServer() as server:
        return server.address


@pytest.mark.parametrize("kind", ["webhook", "mail", "name"])
def test_a_place_that_is_not_there_is_one_clear_error(kind):
    address = closed_port()
    target = {
        "webhook": config.TargetSettings(
            name="w", webhook=f"http://{address}/token-in-path", webhook_secret="OPS_SECRET"
        ),
        "mail": config.TargetSettings(name="m", email=("a@b.c",), sender="a@b.c", smtp=address, smtp_security="none"),
        "name": config.TargetSettings(name="w", webhook="https://no-such-host.invalid/x", webhook_secret="OPS_SECRET"),
    }[kind]
    with pytest.raises(targets.DeliveryError) as raised:
        targets.send(target, message(), environ=SECRETS, timeout_s=1)
    assert "token-in-path" not in str(raised.value)
    assert address not in str(raised.value)


def test_a_webhook_over_tls_is_verified(tls):
    with Webhook() as webhook:
        webhook.server.socket = tls("another.example").wrap_socket(webhook.server.socket, server_side=True)
        port = webhook.server.server_address[1]
        target = config.TargetSettings(name="w", webhook=f"https://127.0.0.1:{port}/x", webhook_secret="OPS_SECRET")
        with pytest.raises(targets.DeliveryError, match="certificate is not valid"):
            targets.send(target, message(), environ=SECRETS, timeout_s=2)
    assert webhook.seen == []


# A module of apprise still imports one that Python 3.13 has not.
IMGHDR = pytest.mark.filterwarnings("ignore:.*imghdr:DeprecationWarning")


@IMGHDR
def test_a_service_of_apprise_gets_the_message():
    with Webhook() as webhook:
        taken = []

        def answer(request):
            taken.append(request.rfile.read(int(request.headers["Content-Length"])))
            request.send_response(200)
            request.send_header("Content-Length", "0")
            request.end_headers()

        webhook.answer = answer
        url = f"json://127.0.0.1:{webhook.server.server_address[1]}/x"
        targets.send(config.TargetSettings(name="a", apprise="URL"), message(), environ={"URL": url})
    assert b"secret.aws in agent support" in taken[0]


@IMGHDR
@pytest.mark.parametrize("url", ["", "no url", "nothing://x"])
def test_a_service_that_apprise_does_not_know_is_one_clear_error(url):
    with pytest.raises(targets.DeliveryError) as raised:
        targets.send(config.TargetSettings(name="a", apprise="URL"), message(), environ={"URL": url})
    assert "URL" in str(raised.value)
    assert not url or url not in str(raised.value)


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(targets.DeliveryError, match=r"pip install 'cylestio-monitor\[alerts\]'"):
        targets.send(config.TargetSettings(name="a", apprise="URL"), message(), environ={"URL": "json://x"})
