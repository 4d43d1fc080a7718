"""Records the requests of the tests to the REST API, if the environment variable RECORD_REST names a file.

`scripts/compare-rest` sends them to two servers. One process has to run the tests: `RECORD_REST=FILE pytest tests/...`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import jwt

from tests.compare_rest.records import KEPT_HEADERS, RESET, UUID, Record
from worker.local.supabase.tokens import ISSUER

_API = "/rest/v1"
_MAX_BODY_LENGTH = 3000
# Tests create kinds that a new database lacks. Their rules are those of the kind that they are named after.
_OWN_KIND = re.compile(rf"\b(jobs|people|creators)-{UUID.pattern}")
# It closes the connection of the compared server.
_NEVER = ("/rpc/cut_connection",)


_running: list[Recorder] = []


class Recorder:
    """Records each request once, with placeholders for UUIDs.

    Args:
        path: The file to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._secrets: set[str] = set()
        self._uuids: dict[str, int] = {}
        self._kept: set[str] = set()
        self._probed: set[str] | None = None
        path.write_text("")

    def trust(self, secret: str) -> None:
        """Add the secret of a stack. Its tokens are recorded as claims."""
        self._secrets.add(secret)

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Record every request from now on, not only one of each shape. The tables were just filled."""
        self._write(RESET)
        self._probed = set()
        try:
            yield
        finally:
            self._probed = None

    def note(self, request: httpx.Request, response: httpx.Response) -> None:
        """Record a request, unless one like it was recorded before."""
        path = request.url.raw_path.decode()
        if not path.startswith(_API) or len(request.content) > _MAX_BODY_LENGTH:
            return
        path = path.removeprefix(_API)
        try:
            body = request.content.decode() or None
        except UnicodeDecodeError:
            return
        if path.startswith(_NEVER):
            return
        headers = {name: request.headers[name] for name in KEPT_HEADERS if name in request.headers}
        record = replace(
            self._asker(request),
            method=request.method,
            path=self._placed(path),
            headers=headers,
            body=None if body is None else self._placed(body),
        )
        shape = record.line() if self._probed is not None else _shape(record)
        known = self._kept if self._probed is None else self._probed
        if shape not in known:
            known.add(shape)
            found = dict.fromkeys(UUID.findall(response.text))
            self._write(replace(record, uuids=[self._number(value) for value in found]))

    def _write(self, record: Record) -> None:
        with self._path.open("a") as file:
            file.write(record.line() + "\n")

    def _asker(self, request: httpx.Request) -> Record:
        key = request.headers.get("apikey", "")
        authorization = request.headers.get("authorization", f"Bearer {key}")
        claims = self._claims(authorization.partition(" ")[2])
        if claims is None:
            return Record("", authorization=authorization)
        if isinstance(claims, dict) and claims.get("iss") == ISSUER and "sub" not in claims:
            return Record("", role=claims["role"])
        if isinstance(claims, dict):
            now = int(time.time())
            times = {name: claims[name] - now for name in ("exp", "nbf", "iat") if type(claims.get(name)) is int}
            claims = json.loads(self._placed(json.dumps(claims | times)))
            # The session does not matter, but the lifetime of the token does.
            claims = {"role": claims["role"], "sub": claims["sub"], "exp": 3600} if "session_id" in claims else claims
        return Record("", claims=claims)

    def _claims(self, token: str) -> Any:
        for secret in self._secrets:
            try:
                return json.loads(jwt.api_jws.decode(token, secret, ["HS256"]))
            except (jwt.InvalidTokenError, ValueError):
                continue
        return None

    def _placed(self, text: str) -> str:
        text = _OWN_KIND.sub(r"\1", text)
        return UUID.sub(lambda found: f"<uuid {self._number(found[0])}>", text)

    def _number(self, value: str) -> int:
        return self._uuids.setdefault(value, len(self._uuids))


def _shape(record: Record) -> str:
    """Return the shape of a request: requests of one shape differ only in their values."""
    path = re.sub(r"=(not\.)?([a-z]+)\.[^&]*", r"=\1\2", record.path)
    try:
        body = json.loads(record.body or "null")
    except ValueError:
        body = record.body
    keys = sorted(body) if isinstance(body, dict) else sorted(body[0]) if isinstance(body, list) and body else []
    asker = record.role or ("user" if record.claims else "other")
    return json.dumps([record.method, path, asker, record.headers, [str(key) for key in keys]])


@contextmanager
def recording(path: Path) -> Iterator[Recorder]:
    """Record every request of an asynchronous client."""
    recorder = Recorder(path)
    send = httpx.AsyncClient.send

    async def noting(client: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        response = await send(client, request, **options)
        if not options.get("stream"):
            recorder.note(request, response)
        return response

    with patch.object(httpx.AsyncClient, "send", noting):
        _running.append(recorder)
        try:
            yield recorder
        finally:
            _running.remove(recorder)


def trust(secret: str) -> None:
    """Add the secret of a stack to the recorder, if requests are recorded."""
    for recorder in _running:
        recorder.trust(secret)
