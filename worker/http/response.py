"""What a site answered, and which failure its status is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus

import httpx

from worker.errors import ErrorCode, SiteError
from worker.http.masking import mask
from worker.http.retry_after import retry_after_seconds
from worker.model import Json
from worker.processes.bounded_json import READ_AT_ONCE, JsonError, read_json
from worker.processes.daemon_thread import in_daemon_thread

_ERROR_CODES: Mapping[int, ErrorCode] = {
    HTTPStatus.UNAUTHORIZED: ErrorCode.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED: ErrorCode.QUOTA_EXCEEDED,
    HTTPStatus.FORBIDDEN: ErrorCode.BLOCKED,
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ErrorCode.NETWORK,
    HTTPStatus.REQUEST_TIMEOUT: ErrorCode.TIMEOUT,
    HTTPStatus.GONE: ErrorCode.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: ErrorCode.RATE_LIMITED,
    HTTPStatus.GATEWAY_TIMEOUT: ErrorCode.TIMEOUT,
}
# Below 500 a status blames the request, which will be the same next time; but for these (RFC 9110, RFC 8470, RFC 4918).
_PASSING_REFUSALS = frozenset({
    HTTPStatus.CONFLICT, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A body as JSON.

    Attributes:
        problem: Why it is none; None: it is.
    """

    value: Json = None
    problem: str | None = None


def _read(body: bytes) -> ReadBody:
    try:
        return ReadBody(read_json(body))
    except JsonError as error:
        return ReadBody(problem=str(error))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of a site, whatever its status.

    Attributes:
        headers: By name, in any case.
        elapsed_ms: Time from the first request to the end of the answer, in milliseconds, without waiting for permits
            and without the pauses between tries.
        requests: Requests that it took, with those that were repeated or redirected.
        read: The body as JSON, or why it is none, where it was read already.
        secrets: Credentials of the request, which no message may repeat.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    elapsed_ms: int
    requests: int = 1
    secrets: tuple[str, ...] = field(default=(), repr=False)
    read: ReadBody | None = field(default=None, repr=False, compare=False)

    async def read_aside(self) -> Response:
        """Return this answer with its body read, where it is long JSON: in a thread, and not where it is asked for."""
        if len(self.body) <= READ_AT_ONCE or not self.body[:100].lstrip().startswith((b"{", b"[")):
            return self
        return replace(self, read=await in_daemon_thread(partial(_read, self.body)))

    def json(self) -> Json:
        """Return the body as JSON.

        Raises:
            SiteError: `upstream`, it is none, or too much of it.
        """
        read = self.read or _read(self.body)
        if read.problem is not None:
            kind = self.headers.get("content-type", "of no type")
            what = "is not JSON" if read.problem.startswith("is not JSON") else read.problem
            raise SiteError(ErrorCode.UPSTREAM, f"the answer (status {self.status}, {kind}) {what}")
        return read.value

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the site asks to be left alone (`Retry-After`, RFC 9110, 10.2.3), in seconds."""
        return retry_after_seconds(self.headers)

    def failure(self, message: str | None = None) -> SiteError:
        """Return what the status says, as it is told where a source knows nothing better.

        Args:
            message: What the site says of it.
        """
        code = _ERROR_CODES.get(self.status)
        blames_request = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        text = f"response status code {self.status}" + (f": {mask(message, self.secrets)}" if message else "")
        return SiteError(
            code or ErrorCode.UPSTREAM,
            text,
            is_final=True if code is None and blames_request and self.status not in _PASSING_REFUSALS else None,
            retry_after_seconds=self.retry_after_seconds,
        )

    def checked(self) -> Response:
        """Return this answer if its status is a success.

        Raises:
            SiteError: It is not; as `failure` tells.
        """
        if HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            return self
        raise self.failure()
