"""Client of JSearch at RapidAPI and at OpenWeb Ninja: requests, errors and quotas.

See https://www.openwebninja.com/api/jsearch/docs and https://docs.rapidapi.com/docs/response-headers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from worker.errors import ErrorCode, SiteError
from worker.http import Response, SiteHttp
from worker.http.masking import mask
from worker.model import Json, Observed
from worker.sources.fields import mapping, number, text

Host = Literal["jsearch.p.rapidapi.com", "api.openwebninja.com"]
Endpoint = Literal["search", "search-v2"]

_REFUSALS = frozenset({HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
_FIRST_TIMESTAMP = 10**9


class JSearchApi:
    """Sends requests to JSearch.

    Args:
        api_key: The operator's key; None: not set.
        host: The API host that issued the key.
    """

    def __init__(self, api_key: str | None, host: Host) -> None:
        self._api_key = api_key
        self._host = host

    async def request(self, http: SiteHttp, endpoint: Endpoint, params: Mapping[str, str | int]) -> Response:
        """Request a page, and report the quotas in the response to the site's limits.

        Raises:
            SiteError: The request failed. The message says what the operator can do.
        """
        if self._api_key is None:
            raise SiteError(ErrorCode.UNAUTHORIZED, "JSEARCH_API_KEY: is not set; JSearch requires a key")
        if self._host == "api.openwebninja.com":
            url, headers = f"https://{self._host}/jsearch/{endpoint}", {"x-api-key": self._api_key}
        else:
            url = f"https://{self._host}/{endpoint}"
            headers = {"X-RapidAPI-Key": self._api_key, "X-RapidAPI-Host": self._host}
        response = await http.request("GET", url, params=params, headers=headers)
        failure = self._failure(response, endpoint)
        is_used_up = failure is not None and failure.code is ErrorCode.QUOTA_EXCEEDED
        if observed := _observed(response, is_used_up=is_used_up):
            await http.observe(observed)
        if failure is not None:
            raise failure
        return response

    def _failure(self, response: Response, endpoint: Endpoint) -> SiteError | None:
        status, answer = response.status, _answer(response)
        reason = mask(_message(answer) or "no reason given", [self._api_key or ""])
        if status < HTTPStatus.MULTIPLE_CHOICES:
            is_error = answer.get("status") == "ERROR" or ("message" in answer and "data" not in answer)
            return SiteError(ErrorCode.UPSTREAM, f"JSearch failed: {reason}") if is_error else None
        is_used_up = _header(response, "requests-remaining") == 0 or re.search(r"(?i)\bquota\b", reason)
        if status in _REFUSALS and is_used_up:
            wait = _seconds(response, "requests-reset")
            message = f"the plan's requests are used up: {reason}"
            return SiteError(ErrorCode.QUOTA_EXCEEDED, message, retry_after_seconds=wait)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = response.retry_after_seconds
            wait = _seconds(response, "reset") if wait is None else wait
            return SiteError(ErrorCode.RATE_LIMITED, f"too many requests: {reason}", retry_after_seconds=wait)
        code, explanation = self._explain(status, endpoint)
        return response.failure(reason) if code is None else SiteError(code, f"{explanation}: {reason}")

    def _explain(self, status: int, endpoint: Endpoint) -> tuple[ErrorCode | None, str]:
        match status:
            case HTTPStatus.BAD_REQUEST:
                return ErrorCode.INVALID_PARAMETERS, "JSearch refused the search"
            case HTTPStatus.UNAUTHORIZED:
                return ErrorCode.UNAUTHORIZED, f"JSEARCH_API_KEY: {self._host} does not accept the key"
            case HTTPStatus.FORBIDDEN:
                advice = "subscribe to JSearch there, or set JSEARCH_HOST to the host that issued the key"
                return ErrorCode.UNAUTHORIZED, f"JSEARCH_API_KEY: {self._host} refuses the key; {advice}"
            case HTTPStatus.NOT_FOUND:
                advice = f"set {'v2' if endpoint == 'search' else 'v1'}, or subscribe to JSearch there"
                return (
                    ErrorCode.NOT_FOUND,
                    f"JSEARCH_VERSION: {self._host} does not offer /{endpoint} for the key; {advice}",
                )
            case _:
                return None, ""


def _answer(response: Response) -> dict[str, Json]:
    try:
        return mapping(response.json())
    except SiteError:
        return {}


def _message(answer: Mapping[str, Json]) -> str | None:
    """Return the API's error message: `error` of JSearch, or `message` of RapidAPI."""
    error = answer.get("error")
    return text(mapping(error).get("message")) or text(error) or text(answer.get("message"))


def _observed(response: Response, *, is_used_up: bool) -> Observed | None:
    """Return the plan's quota (headers with `-requests-`) and the rate limit (other headers); None without any."""
    observed = Observed(
        retry_after_seconds=_seconds(response, "reset") if _header(response, "remaining") == 0 else None,
        remaining=0 if is_used_up else _header(response, "requests-remaining"),
        quota=_header(response, "requests-limit"),
        resets_in_seconds=_seconds(response, "requests-reset"),
    )
    return observed if observed != Observed() else None


def _header(response: Response, name: str) -> int | None:
    return number(response.headers.get(f"x-ratelimit-{name}"))


def _seconds(response: Response, name: str) -> float | None:
    """Return the seconds until a reset. RapidAPI sends them, or the time of the reset as a Unix timestamp."""
    value = _header(response, name)
    if value is None:
        return None
    return max(0.0, value - time.time()) if value >= _FIRST_TIMESTAMP else float(value)
