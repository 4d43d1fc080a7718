"""The routes that other programs call: `api/health` and `api/webhooks/search`. The API for e-mails is played."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from standardwebhooks import Webhook

from tests.browser.people import Person, new_term
from tests.browser.waiting import until
from tests.support.receiver import OTHER_SECRET, SECRET
from tools import frontend
from worker.local.supabase.stack import Endpoints

EMAIL_KEY = "re_123"


class Mails:
    """What was sent to the API for e-mails, each once for its idempotency key.

    Attributes:
        url: Its address.
        status: What it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.sent: dict[str, dict[str, Any]] = {}


@contextmanager
def playing_mails() -> Iterator[Mails]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            mail = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.headers["authorization"] == f"Bearer {EMAIL_KEY}"
            if playing.status == 200:
                playing.sent.setdefault(self.headers["idempotency-key"], mail)
            self.send_response(playing.status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        playing = Mails(f"http://127.0.0.1:{server.server_port}/emails")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield playing
        server.shutdown()


@pytest.fixture(scope="module")
def mails() -> Iterator[Mails]:
    with playing_mails() as playing:
        yield playing


@pytest.fixture(scope="module")
def app(shared_stack: Endpoints, address: str, mails: Mails, log: Path) -> Iterator[str]:
    """Address of the frontend with all settings of its routes, built before by `address`."""
    assert address
    environment = {
        "SUPABASE_SERVICE_ROLE_KEY": shared_stack.service_role_key,
        "SEARCH_WEBHOOK_SECRET": f"{OTHER_SECRET},{SECRET}",
        "EMAIL_API_URL": mails.url,
        "EMAIL_API_KEY": EMAIL_KEY,
        "EMAIL_FROM": "search@example.com",
        "SITE_URL": "https://search.example.com/",
    }
    with frontend.served(shared_stack.url, shared_stack.anon_key, log, environment) as served:
        yield served


def post(app: str, payload: dict[str, Any], *, secret: str = SECRET, message_id: str | None = None) -> httpx.Response:
    """Send a message as a worker does."""
    body = json.dumps(payload)
    message_id = message_id or f"msg_{uuid4()}"
    now = datetime.now(UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body),
    }
    return httpx.post(f"{app}/api/webhooks/search", content=body, headers=headers, timeout=30)


def new_items(person: Person, **data: Any) -> dict[str, Any]:
    """The message about new results of a saved search."""
    known = {"run_id": str(uuid4()), "user_id": person.session["user"]["id"], "saved_search_id": None, "new_items": 3}
    return {"type": "search.new_items", "timestamp": "2026-11-29T00:00:00Z", "data": known | data}


def test_health_is_that_of_the_workers(app: str, stack: Endpoints) -> None:
    healthy = httpx.get(f"{app}/api/health", timeout=30)
    assert (healthy.status_code, healthy.json()) == (200, {"is_healthy": True})
    assert healthy.headers["cache-control"] == "no-store"
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("update worker.alert_rules set threshold = 0.000001 where rule = 'no_worker'")
        try:
            ill = httpx.get(f"{app}/api/health", timeout=30)
            assert (ill.status_code, ill.json()) == (503, {"is_healthy": False})
        finally:
            database.execute("update worker.alert_rules set threshold = 300 where rule = 'no_worker'")
    until(lambda: httpx.get(f"{app}/api/health", timeout=30).status_code == 200)


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_new_results_are_mailed_once(app: str, mails: Mails, ada: Person, secret: str) -> None:
    name = new_term()
    payload = new_items(ada, saved_search_id=ada.save(name, "nurse"))
    message_id = f"msg_{uuid4()}"
    for _ in range(2):
        assert post(app, payload, secret=secret, message_id=message_id).status_code == 200
    mail = mails.sent[message_id]
    assert (mail["from"], mail["to"]) == ("search@example.com", [ada.email])
    assert mail["subject"] == f"3 new results: {name}"
    assert f"https://search.example.com/runs/{payload['data']['run_id']}?new=true" in mail["text"]


def test_a_message_that_cannot_be_mailed_is_asked_for_again(app: str, mails: Mails, ada: Person) -> None:
    payload, message_id = new_items(ada, new_items=1), f"msg_{uuid4()}"
    mails.status = 500
    try:
        assert post(app, payload, message_id=message_id).status_code == 503
    finally:
        mails.status = 200
    assert post(app, payload, message_id=message_id).status_code == 200
    assert mails.sent[message_id]["subject"] == "1 new result: your search"


def test_other_events_are_accepted_and_not_mailed(app: str, mails: Mails) -> None:
    before = dict(mails.sent)
    assert post(app, {"type": "run.finished", "data": {}}).status_code == 200
    assert mails.sent == before


def test_what_is_not_signed_is_refused(app: str, mails: Mails, ada: Person) -> None:
    before = dict(mails.sent)
    stranger = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
    assert post(app, new_items(ada), secret=stranger).status_code == 401
    unsigned = httpx.post(f"{app}/api/webhooks/search", json=new_items(ada), timeout=30)
    assert unsigned.status_code == 401
    assert httpx.get(f"{app}/api/webhooks/search", timeout=30).status_code == 405
    assert mails.sent == before


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param("Content-Length: 100001", b"", id="length"),
        # The end of the body never comes.
        pytest.param("Transfer-Encoding: chunked", b"186a1\r\n" + b"x" * 100_001 + b"\r\n", id="chunks"),
    ],
)
def test_a_message_that_is_too_long_is_refused_before_its_end(app: str, header: str, body: bytes) -> None:
    host = urlsplit(app).netloc
    head = f"POST /api/webhooks/search HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{header}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(app).port or 80), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
