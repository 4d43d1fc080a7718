"""Receivers of notices on loopback, in threads of their own: a real SMTP server, and a played HTTP service."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from worker.local.loopback import free_port

USER, PASSWORD = "ops", "correct-horse"


@dataclass(slots=True)
class Mailbox:
    """What an SMTP server received.

    Attributes:
        url: The address of the recipient, as Apprise takes it.
        messages: What arrived, in order.
        refuses: Whether messages are refused.
        has_received: Set by the first message.
    """

    url: str
    messages: list[EmailMessage] = field(default_factory=list)
    refuses: bool = False
    has_received: threading.Event = field(default_factory=threading.Event)

    @property
    def subjects(self) -> list[str]:
        """The subjects, in order of arrival."""
        return [str(message["Subject"]) for message in self.messages]

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        """Take a message."""
        if not session.authenticated:
            return "530 Authentication required"
        if self.refuses:
            return "451 try again later"
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.has_received.set()
        return "250 OK"


def _authenticate(_: SMTP, __: Session, ___: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert mechanism in ("LOGIN", "PLAIN")
    assert isinstance(data, LoginPassword)
    return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()))


@contextmanager
def running_mailbox() -> Iterator[Mailbox]:
    """Start an SMTP server that asks for a user and a password."""
    port = free_port()
    mailbox = Mailbox(f"mailto://{USER}:{PASSWORD}@127.0.0.1:{port}/?to=ops@example.com&from=worker@example.com")
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port, authenticator=_authenticate,
        auth_require_tls=False, loop=asyncio.new_event_loop(),
    )  # fmt: skip
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


@dataclass(slots=True)
class Service:
    """A service that takes messages by HTTP, as Slack does.

    Attributes:
        url: Its address.
        received: Path and body of each request, in order of arrival.
        status: What is answered.
        has_received: Set by the first request.
        may_answer: Answers wait for it.
    """

    url: str
    received: list[tuple[str, Any]] = field(default_factory=list)
    status: int = 200
    has_received: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)


@contextmanager
def running_service() -> Iterator[Service]:
    """Start a service that accepts messages."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.received.append((self.path, json.loads(body)))
            service.has_received.set()
            service.may_answer.wait(30)
            self.send_response(service.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service = Service(f"http://127.0.0.1:{server.server_address[1]}")
        service.may_answer.set()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            service.may_answer.set()
            server.shutdown()
            thread.join()
