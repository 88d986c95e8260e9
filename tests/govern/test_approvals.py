"""An approval covers one call, expires, is spent once, and nothing but a decision allows the call."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cylestio_monitor.errors import StoreError
from cylestio_monitor.govern.approvals import ApprovalRequest, Approvals, MemoryLedger, call_digest
from cylestio_monitor.govern.approvals.deciders import SIGNATURE_HEADER, CallbackDecider, WebhookDecider, question

KEY, SECRET = b"key", b"a shared secret of enough bytes"
BOUND = {"session": "s", "tool": "mail/send", "arguments": {"to": "ann", "n": [1, 2]}, "policy_version": "1"}


def request(seconds=30.0, **fields):
    now = time.time_ns()
    values = {"id": "abc", "digest": call_digest(KEY, **BOUND), "tool": "mail/send", "arguments": "{}", **fields}
    return ApprovalRequest(created_ns=now, expires_ns=now + int(seconds * 1e9), **values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session", "t"),
        ("tool", "mail/send2"),
        ("arguments", {"to": "eve", "n": [1, 2]}),
        ("arguments", {"to": "ann", "n": [2, 1]}),
        ("arguments", {"to": "ann", "n": [1, "2"]}),
        ("arguments", {"to": "ann"}),
        ("arguments", None),
        ("policy_version", "2"),
    ],
)
def test_an_approval_is_bound_to_the_exact_call(field, value):
    ledger, made = MemoryLedger(), request()
    ledger.open(made)
    assert ledger.decide(made.id, allow=True, by="ann", now_ns=time.time_ns())
    assert not ledger.spend(made.id, call_digest(KEY, **{**BOUND, field: value}), now_ns=time.time_ns())
    same = call_digest(KEY, **{**BOUND, "arguments": {"n": [1, 2], "to": "ann"}})
    assert ledger.spend(made.id, same, now_ns=time.time_ns())
    assert not ledger.spend(made.id, same, now_ns=time.time_ns())


def test_fields_cannot_be_shifted_into_each_other():
    assert call_digest(KEY, **{**BOUND, "session": "sm", "tool": "ail/send"}) != call_digest(KEY, **BOUND)
    assert call_digest(b"other", **BOUND) != call_digest(KEY, **BOUND)


@pytest.mark.parametrize("answers", [[True], [None, True], [None, None, True]])
def test_the_first_decision_allows_the_call(answers):
    deciders = [CallbackDecider(lambda _, answer=answer: answer) for answer in answers]
    assert Approvals(MemoryLedger(), deciders).wait(request())


@pytest.mark.parametrize("answer", [False, 1, "yes", object()])
def test_only_true_allows(answer):
    assert not Approvals(MemoryLedger(), [CallbackDecider(lambda _: answer)]).wait(request())


def test_a_decider_that_raises_decides_nothing_and_the_request_expires(caplog):
    def broken(_):
        raise OSError("no terminal")

    ledger, made = MemoryLedger(), request(0.2)
    assert not Approvals(ledger, [CallbackDecider(broken)]).wait(made)
    assert ledger.state(made.id) == "expired"
    assert not ledger.decide(made.id, allow=True, by="late", now_ns=time.time_ns())
    assert "callback failed" in caplog.text


def test_a_decision_after_the_time_does_not_count():
    ledger, made = MemoryLedger(), request(-1)
    ledger.open(made)
    assert not ledger.decide(made.id, allow=True, by="late", now_ns=time.time_ns())
    assert not ledger.spend(made.id, made.digest, now_ns=time.time_ns())


def test_a_waiting_task_leaves_the_event_loop_free():
    ledger, made = MemoryLedger(), request()

    async def main():
        waiting = asyncio.create_task(Approvals(ledger).wait_async(made, asyncio.sleep))
        turns = 0
        while not waiting.done():
            turns += 1
            if turns == 20:
                ledger.decide(made.id, allow=True, by="other terminal", now_ns=time.time_ns())
            await asyncio.sleep(0.001)
        return await waiting

    assert asyncio.run(main())


def test_an_approval_is_spent_once_by_many_threads():
    ledger, made = MemoryLedger(), request()
    ledger.open(made)
    ledger.decide(made.id, allow=True, by="ann", now_ns=time.time_ns())
    gate, spent = threading.Barrier(16), []

    def spend():
        gate.wait()
        spent.append(ledger.spend(made.id, made.digest, now_ns=time.time_ns()))

    threads = [threading.Thread(target=spend) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spent.count(True) == 1


@pytest.fixture
def webhook():
    """A loopback server whose answer the test sets, and what it received."""
    received, answer = [], {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((body, self.headers[SIGNATURE_HEADER]))
            data = json.dumps({"id": json.loads(body)["id"], "decision": "allow", **answer.get("fields", {})}).encode()
            signature = hmac.new(answer.get("secret", SECRET), data, hashlib.sha256).hexdigest()
            self.send_response(answer.get("status", 200))
            self.send_header(SIGNATURE_HEADER, signature)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/approve?x=1", received, answer
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("decision", "expected"), [("allow", True), ("deny", False), ("later", None), ("sure", None)])
def test_a_signed_webhook_decides(webhook, decision, expected):
    url, received, answer = webhook
    answer["fields"] = {"decision": decision}
    assert WebhookDecider(url, SECRET).ask(request()) is expected
    body, signature = received[0]
    assert hmac.new(SECRET, body, hashlib.sha256).hexdigest() == signature


@pytest.mark.parametrize("change", [{"secret": b"another secret of 16"}, {"fields": {"id": "other"}}, {"status": 302}])
def test_an_answer_that_is_forged_replayed_or_redirected_decides_nothing(webhook, change):
    url, _, answer = webhook
    answer.update(change)
    with pytest.raises(ValueError, match="webhook"):
        WebhookDecider(url, SECRET).ask(request())


@pytest.mark.parametrize(
    ("url", "secret"), [("http://example.com/", SECRET), ("https://example.com/", b"short"), ("ftp://x/", SECRET)]
)
def test_an_unprotected_webhook_is_refused(url, secret):
    with pytest.raises(ValueError, match=r"https|shorter"):
        WebhookDecider(url, secret)


def test_the_question_holds_no_control_characters():
    text = question(request(tool="mail\x1b[2J/send", arguments='{"to": "\x07\r\nann"}'))
    assert all(character.isprintable() for line in text.splitlines() for character in line)


class FaultyLedger(MemoryLedger):
    """Fails some times in one of its methods, as a store does that is locked or full."""

    def __init__(self, method, times):
        super().__init__()
        self.left = times
        working = getattr(self, method)

        def failing(*args, **kwargs):
            if self.left:
                self.left -= 1
                raise StoreError("database is locked")
            return working(*args, **kwargs)

        setattr(self, method, failing)


@pytest.mark.parametrize("method", ["state", "spend"])
def test_a_store_that_is_busy_for_a_while_loses_no_decision(method):
    ledger = FaultyLedger(method, 2)
    assert Approvals(ledger, [CallbackDecider(lambda _: True)]).wait(request())
    assert ledger.left == 0


@pytest.mark.parametrize("method", ["open", "state", "spend", "decide", "expire"])
def test_a_store_that_stays_broken_denies_the_call_and_raises_nothing(method):
    answer = None if method == "expire" else True
    approvals = Approvals(FaultyLedger(method, 1_000), [CallbackDecider(lambda _: answer)])
    assert approvals.wait(request(0.3)) is False
    assert asyncio.run(approvals.wait_async(request(0.3), asyncio.sleep)) is False
