"""A receiver of webhooks on loopback, in threads of its own, so that it answers while a test waits for a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazfxEPRjHEk="


@dataclass(slots=True)
class Receiver:
    """What arrived, and what is answered.

    Attributes:
        url: Where to send.
        secret: What signatures are verified with.
        received: The verified messages with their `webhook-id`, in order of arrival.
        refused: Number of requests whose signature was wrong.
        status: What is answered.
        headers: Headers of the answers.
        body: The body of the answers.
        has_received: Set by the first message.
        may_answer: Answers wait for it.
    """

    url: str
    secret: str = SECRET
    received: list[tuple[str, Any]] = field(default_factory=list)
    refused: int = 0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    has_received: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    @property
    def ids(self) -> list[str]:
        """The `webhook-id` of each message, in order of arrival."""
        return [message_id for message_id, _ in self.received]

    @property
    def payloads(self) -> list[Any]:
        """The messages, in order of arrival."""
        return [payload for _, payload in self.received]


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    """Receive webhooks over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                payload = Webhook(receiver.secret).verify(body, dict(self.headers))
            except WebhookVerificationError:
                receiver.refused += 1
                self.send_error(401)
                return
            receiver.received.append((self.headers["webhook-id"], payload))
            receiver.has_received.set()
            receiver.may_answer.wait(60)
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(receiver.body)))
            self.end_headers()
            self.wfile.write(receiver.body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

        def handle(self) -> None:
            # The sender does not read the body.
            with suppress(ConnectionError):
                super().handle()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 100

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hooks")
        receiver.may_answer.set()
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield receiver
        finally:
            receiver.may_answer.set()
            server.shutdown()
            thread.join()
