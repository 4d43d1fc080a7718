"""A site's response, and the error code of each HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus

import httpx

from worker.errors import ErrorCode, SiteError
from worker.http.challenges import captcha, html_instead_of_json, is_html
from worker.http.masking import mask
from worker.http.retry_after import retry_after_seconds
from worker.model import Json
from worker.processes.bounded_json import MAX_INLINE_BYTES, JsonError, read_json
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
# A 4xx status means that the same request would fail again, except for these (RFC 9110, RFC 8470, RFC 4918).
_RETRYABLE_CLIENT_ERRORS = frozenset({
    HTTPStatus.CONFLICT, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """A body parsed as JSON.

    Attributes:
        value: The value; None if the body is not valid.
        problem: Why the body is not valid; None: it is.
    """

    value: Json = None
    problem: str | None = None


def _parse(body: bytes) -> ParsedBody:
    try:
        return ParsedBody(read_json(body))
    except JsonError as error:
        return ParsedBody(problem=str(error))


@dataclass(frozen=True, slots=True)
class Response:
    """A site's response with any status.

    Attributes:
        status: HTTP status code.
        headers: Headers by case-insensitive name.
        body: The decompressed body.
        elapsed_ms: Time that the site took to respond, in milliseconds, over all requests; without waiting for permits
            and without backoff.
        requests: Requests sent, including retries and redirects.
        secrets: Credentials of the request, masked in messages.
        parsed: The body as JSON, if it was parsed in advance.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    elapsed_ms: int
    requests: int = 1
    secrets: tuple[str, ...] = field(default=(), repr=False)
    parsed: ParsedBody | None = field(default=None, repr=False, compare=False)

    async def parsed_in_thread(self) -> Response:
        """Return this response with its body parsed, if it is a long JSON body.

        The parser runs in a thread, so that `json` does not block the event loop.
        """
        if len(self.body) <= MAX_INLINE_BYTES or not self.body[:100].lstrip().startswith((b"{", b"[")):
            return self
        return replace(self, parsed=await in_daemon_thread(partial(_parse, self.body)))

    def json(self) -> Json:
        """Return the body as JSON.

        Raises:
            SiteError: `blocked`: the body is a page with a captcha. `upstream`: the body is not JSON, or exceeds the
                limits of `read_json`.
        """
        parsed = self.parsed or _parse(self.body)
        if parsed.problem is not None and is_html(self.body):
            if check := captcha(self.body):
                raise SiteError(ErrorCode.BLOCKED, check)
            raise SiteError(ErrorCode.UPSTREAM, mask(html_instead_of_json(self.body), self.secrets))
        if parsed.problem is not None:
            content_type = self.headers.get("content-type", "no content type")
            # The parser's own message quotes the body.
            problem = "is not JSON" if parsed.problem.startswith("is not JSON") else parsed.problem
            raise SiteError(ErrorCode.UPSTREAM, f"the answer (status {self.status}, {content_type}) {problem}")
        return parsed.value

    @property
    def retry_after_seconds(self) -> float | None:
        """Seconds until the site accepts requests again (`Retry-After`, RFC 9110, 10.2.3); None: not given."""
        return retry_after_seconds(self.headers)

    def failure(self, message: str | None = None) -> SiteError:
        """Return the error for this status. Sources that know more about a failure raise their own.

        Args:
            message: The site's own message, which is appended; secrets in it are masked.
        """
        code = _ERROR_CODES.get(self.status)
        is_client_error = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        text = f"response status code {self.status}" + (f": {mask(message, self.secrets)}" if message else "")
        return SiteError(
            code or ErrorCode.UPSTREAM,
            text,
            is_final=True if code is None and is_client_error and self.status not in _RETRYABLE_CLIENT_ERRORS else None,
            retry_after_seconds=self.retry_after_seconds,
        )

    def checked(self) -> Response:
        """Return this response if its status is 2xx.

        Raises:
            SiteError: The status is not 2xx (see `failure`).
        """
        if HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            return self
        raise self.failure()
