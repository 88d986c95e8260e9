"""Loopback receivers of alerts: a webhook and a mail server, which can be told to misbehave."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


class Webhook:
    """Takes signed posts; `faults` are answers to the next requests: a status, ``hang``, ``drop`` or ``redirect``."""

    def __init__(self, faults=()):
        self.faults = list(faults)
        self.taken, self.seen = [], []
        self.arrived = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.answer(self)

            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=very-secret-token"

    def answer(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((headers, body))
        fault = self.faults.pop(0) if self.faults else 200
        if fault == "hang":
            self.arrived.set()
            time.sleep(1)
            return
        if fault == "drop":
            request.connection.close()
            return
        status = 302 if fault == "redirect" else fault
        if status < 300:  # before the answer: the client goes on with it
            assert headers["webhook-signature"] == self.signature(headers, body)
            self.taken.append((headers["webhook-id"], json.loads(body)))
        request.send_response(status)
        if status == 302:
            request.send_header("Location", self.url)
        if status == 429:
            request.send_header("Retry-After", "77")
        request.send_header("Content-Length", "0")
        request.end_headers()
        self.arrived.set()

    def signature(self, headers, body):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        return "v1," + base64.b64encode(hmac.new(b"k" * 24, signed, hashlib.sha256).digest()).decode()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class MailServer:
    """Speaks as much SMTP as a client needs; `faults` maps a command to its answer, or to ``drop``."""

    def __init__(self, *, tls=None, faults=None):
        self.tls, self.faults = tls, dict(faults or {})
        self.mails, self.logins, self.was_encrypted = [], [], []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError, ValueError):
                    outer.talk(self)
                for name in ("encrypted_file", "encrypted"):
                    if hasattr(self, name):
                        getattr(self, name).close()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def talk(self, handler):
        stream, connection, is_encrypted = handler.rfile, handler.connection, False

        def say(text):
            connection.sendall(text.encode() + b"\r\n")

        say("220 test")
        while line := stream.readline():
            words = line.decode("ascii", "replace").strip()
            command = words.split(" ")[0].upper()
            fault = self.faults.get(command)
            if fault == "drop":
                connection.close()
                return
            if fault == "hang":
                time.sleep(1)
                return
            if fault:
                say(fault)
            elif command == "EHLO":
                offers = ["250-test"] + (["250-STARTTLS"] if self.tls and not is_encrypted else []) + ["250 AUTH PLAIN"]
                say("\r\n".join(offers))
            elif command == "STARTTLS":
                say("220 go")
                connection = handler.encrypted = self.tls.wrap_socket(connection, server_side=True)
                stream = handler.encrypted_file = connection.makefile("rb")
                is_encrypted = True
            elif command == "AUTH":
                self.logins.append(base64.b64decode(words.split(" ")[2]))
                say("235 ok")
            elif command == "DATA":
                say("354 go")
                lines = []
                while (one := stream.readline()) != b".\r\n":
                    lines.append(one)
                self.mails.append(b"".join(lines).decode())
                self.was_encrypted.append(is_encrypted)
                say("250 taken")
            elif command == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
