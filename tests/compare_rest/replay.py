"""Sends each recorded request to two servers, and compares their responses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx
import jwt

from tests.compare_rest.records import PLACEHOLDER, UUID, Record
from worker.local.supabase.rest.errors import REFUSED
from worker.local.supabase.tokens import Tokens

COMPARED_HEADERS = (
    "Content-Type", "Content-Range", "Content-Location", "Content-Profile", "Location", "Preference-Applied",
    "Proxy-Status", "WWW-Authenticate",
)  # fmt: skip
READING = ("GET", "HEAD")
"""Methods of requests that change nothing."""
_TIMESTAMP = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-9:.]+(?:[+-][0-9:]+|Z)")
_RECENT = timedelta(days=400)
# The platform loads the extension `safeupdate`. A server without it would change every row.
_SAFEUPDATE = "requires a WHERE clause"
# PostgREST retries these endlessly.
_REPEATED = "40001"


class Side:
    """A server, and the values of the placeholders in its database.

    Args:
        client: Client of the server.
        tokens: Signs the tokens of requests.
    """

    def __init__(self, client: httpx.AsyncClient, tokens: Tokens, secret: str) -> None:
        self._client = client
        self._tokens = tokens
        self._secret = secret
        self._uuids: dict[int, str] = {}
        self._seen: dict[str, int] = {}

    async def send(self, record: Record, now: int) -> httpx.Response:
        """Send a recorded request. The times in its token are seconds from `now`, a Unix time."""
        headers = {**record.headers}
        if (authorization := self._authorization(record, now)) is not None:
            headers["authorization"] = authorization
        content = None if record.body is None else self._filled(record.body).encode()
        request = self._client.build_request(record.method, self._filled(record.path), headers=headers, content=content)
        for name in ("accept", "content-type"):  # httpx adds its own
            if name not in record.headers:
                request.headers.pop(name, None)
        response = await self._client.send(request)
        found = list(dict.fromkeys(UUID.findall(response.text)))
        if len(found) == len(record.uuids):
            for number, value in zip(record.uuids, found, strict=True):
                self._uuids.setdefault(number, value)
        return response

    def normal(self, text: str) -> str:
        """Return a text without values that differ between two equal databases."""
        text = UUID.sub(lambda found: f"<uuid {self._seen.setdefault(found[0], len(self._seen))}>", text)
        return _TIMESTAMP.sub(_recent, text)

    def _filled(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda found: self._uuids.setdefault(int(found[1]), uuid_of(int(found[1]))), text)

    def _authorization(self, record: Record, now: int) -> str | None:
        if record.authorization is not None:
            return record.authorization
        if record.claims is not None:
            claims = json.loads(self._filled(json.dumps(record.claims)))
            return f"Bearer {_signed(claims, now, self._secret)}"
        return f"Bearer {self._tokens.api_key(record.role)}" if record.role else None


def uuid_of(number: int) -> str:
    """Return the UUID of a placeholder that no response had before."""
    return str(uuid5(NAMESPACE_URL, f"record/{number}"))


def _signed(claims: Any, now: int, secret: str) -> str:
    if isinstance(claims, dict):
        claims = {
            name: value + now if name in ("exp", "nbf", "iat") and type(value) is int else value
            for name, value in claims.items()
        }
    return jwt.api_jws.encode(json.dumps(claims).encode(), secret, "HS256")


def _recent(found: re.Match[str]) -> str:
    try:
        time_ = datetime.fromisoformat(found[0])
    except ValueError:
        return found[0]
    return "<time>" if abs(datetime.now(UTC) - time_.astimezone(UTC)) < _RECENT else found[0]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two responses.

    Attributes:
        kind: Its kind. Differences of one kind are counted together.
    """

    kind: str
    record: Record
    local: str
    real: str


@dataclass(slots=True)
class Comparison:
    """The results of all requests.

    Attributes:
        refused: Requests that the local stack does not know, and whether the other server answers them, as far as
            that can be asked without changing anything.
        left_out: How many were not sent to the other server, and why.
    """

    requests: int = 0
    succeeded: int = 0
    differences: list[Difference] = field(default_factory=list)
    refused: list[tuple[Record, str, bool | None]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


async def compare(
    local: Side, real: Side, records: Iterable[Record], reset: Callable[[], Awaitable[None]]
) -> Comparison:
    """Send every request to both servers, first to the local one.

    Args:
        local: The local gateway.
        real: The server to compare it with.
        records: The requests, in order.
        reset: Fills the tables of both databases.
    """
    comparison = Comparison()
    is_changed = True
    for record in records:
        if record.is_reset:
            if is_changed:
                await reset()
            is_changed = False
            continue
        is_changed |= record.method not in READING
        comparison.requests += 1
        now = int(time.time())  # the claims of both tokens are equal, and a response may have them
        ours = await local.send(record, now)
        comparison.succeeded += ours.is_success
        if (why := _left_out(ours)) is not None:
            comparison.left_out[why] = comparison.left_out.get(why, 0) + 1
        elif (refusal := _refusal(ours)) is not None:
            answers = None
            if record.method in READING:
                answers = (await real.send(record, now)).is_success
            comparison.refused.append((record, refusal, answers))
        else:
            theirs = await real.send(record, now)
            comparison.differences += _differences(record, ours, theirs, local, real)
    return comparison


def _body(response: httpx.Response) -> Any:
    # Numbers are compared with all their digits.
    try:
        return json.loads(response.content, parse_int=str, parse_float=str) if response.content else None
    except ValueError:
        return response.text


def _left_out(response: httpx.Response) -> str | None:
    body = _body(response)
    if isinstance(body, dict) and str(body.get("message")).endswith(_SAFEUPDATE):
        return "changes of everything, which the extension safeupdate refuses on the platform"
    if isinstance(body, dict) and body.get("code") == _REPEATED:
        return "sqlstate 40001, which PostgREST 14 retries endlessly"
    return None


def _refusal(response: httpx.Response) -> str | None:
    if not response.headers.get("proxy-status", "").endswith(f"error={REFUSED}"):
        return None
    body = _body(response)
    return str(body["message"]) if isinstance(body, dict) else "the local stack does not know this"


def _differences(
    record: Record, ours: httpx.Response, theirs: httpx.Response, local: Side, real: Side
) -> list[Difference]:
    found = []
    if ours.status_code != theirs.status_code:
        kind = f"status {ours.status_code} instead of {theirs.status_code}"
        found.append(Difference(kind, record, ours.text[:300], theirs.text[:300]))
    for name in COMPARED_HEADERS:
        mine, other = (side.normal(answer.headers.get(name, "-")) for side, answer in ((local, ours), (real, theirs)))
        if mine != other:
            found.append(Difference(f"header {name}", record, mine, other))
    bodies = [_comparable(side.normal(answer.text)) for side, answer in ((local, ours), (real, theirs))]
    if record.method != "HEAD" and bodies[0] != bodies[1]:
        found.append(Difference("body", record, *(json.dumps(body)[:300] for body in bodies)))
    return found


def _comparable(text: str) -> Any:
    try:
        body = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return text
    if isinstance(body, dict) and body.get("code") == "PGRST100":
        return {"code": "PGRST100"}  # each parser has its own message
    return body
