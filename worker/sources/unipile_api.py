"""Client of Unipile's API v1 for LinkedIn, and its errors.

See https://developer.unipile.com/reference/linkedincontroller_search and
https://developer.unipile.com/docs/linkedin-search.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlsplit

from worker.errors import ErrorCode, SiteError
from worker.http import Response, SiteHttp
from worker.http.masking import mask
from worker.model import Json
from worker.sources.fields import mapping, sequence, text

Api = Literal["classic", "sales_navigator", "recruiter"]
"""The API's names of LinkedIn's three searches for people."""

_DETAIL_LENGTH = 150
_RECONNECT = "the LinkedIn account is disconnected from Unipile: reconnect it, then search again"
_SIGN_IN = "the account's owner must sign in on LinkedIn: sign in, reconnect the account, then search again"
_SUBSCRIBE = "the LinkedIn account has no subscription for {api}, or is connected to Unipile without it"
_REFUSALS = {
    "errors/missing_credentials": "Unipile refused UNIPILE_API_KEY",
    "errors/disconnected_account": _RECONNECT,
    "errors/disconnected_feature": _RECONNECT,
    "errors/expired_credentials": _RECONNECT,
    "errors/account_restricted": _SIGN_IN,
    "errors/action_required": _SIGN_IN,
    "errors/unknown_authentication_context": _SIGN_IN,
    "errors/feature_not_subscribed": _SUBSCRIBE,
    "errors/subscription_required": _SUBSCRIBE,
    "errors/resource_not_found": "Unipile does not know the LinkedIn account: connect it again",
    "errors/invalid_account": "the account is not a LinkedIn account: connect one",
}


def read_dsn(dsn: str) -> str:
    """Return the base URL of Unipile's API.

    Args:
        dsn: Host and port as in Unipile's dashboard, such as `api8.unipile.com:13851`, with or without `https://`.

    Raises:
        ValueError: `dsn` is not valid. The message does not repeat it.
    """
    try:
        parts = urlsplit(dsn.strip() if "://" in dsn else f"https://{dsn.strip()}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment and parts.username is None
    if parts.scheme != "https" or not is_bare or port == 0 or not re.fullmatch(r"[\w.-]+", parts.hostname or ""):
        raise ValueError("must be HOST:PORT, such as api8.unipile.com:13851")
    return f"https://{parts.hostname}" + (f":{port}" if port else "") + "/api/v1"


@dataclass(frozen=True, slots=True)
class Place:
    """A place with LinkedIn's id and title."""

    id: str
    title: str


class UnipileAccount:
    """Sends requests to Unipile for one account. Error messages contain neither the account nor the key.

    Args:
        http: Sends the requests.
        address: The base URL of Unipile's API, as `read_dsn` returns it.
        api_key: The operator's key.
        account: Unipile's id of the account.
    """

    def __init__(self, http: SiteHttp, address: str, api_key: str, account: str) -> None:
        self._http = http
        self._address = address
        self._api_key = api_key
        self._account = account

    @property
    def digest(self) -> str:
        """A hash that identifies the account without revealing its id: 16 hexadecimal digits."""
        return hashlib.sha256(self._account.encode()).hexdigest()[:16]

    async def find_place(self, name: str, api: Api) -> Place:
        """Look up a place by its name.

        Raises:
            SiteError: `invalid_parameters`: LinkedIn does not know the place. Other codes: Unipile refused the request
                or failed.
        """
        response = await self._request(
            "GET",
            "/linkedin/search/parameters",
            {"type": "LOCATION", "service": api.upper(), "keywords": name, "limit": 10},
        )
        items = [mapping(item) for item in sequence(self.read(response, api)["items"])]
        places = [
            Place(place_id, text(item.get("title")) or name) for item in items if (place_id := text(item.get("id")))
        ]
        if not places:
            raise SiteError(ErrorCode.INVALID_PARAMETERS, f"locations: LinkedIn knows no place {name!r}")
        # LinkedIn sorts by similarity. An exact match takes precedence over its surroundings.
        return min(places, key=lambda place: _distance(name, place.title))

    async def search(self, body: Json, limit: int) -> Response:
        """Request a page of at most `limit` people. The response may have any status."""
        return await self._request("POST", "/linkedin/search", {"limit": limit}, body)

    def read(self, response: Response, api: Api, *, is_first: bool = True) -> dict[str, Json]:
        """Return the body of a successful response, which has a list `items`.

        Args:
            response: The response.
            api: The search that was requested.
            is_first: Whether it was requested without a cursor.

        Raises:
            SiteError: The response is not successful, or has no list of items.
        """
        if response.status != HTTPStatus.OK:
            raise self._failure(response, api, is_first=is_first)
        answer = mapping(response.json())
        if not isinstance(answer.get("items"), list):
            raise SiteError(ErrorCode.UNVERIFIED, "Unipile's answer has no list of items: its API may have changed")
        return answer

    async def _request(self, method: str, path: str, params: dict[str, str | int], body: Json = None) -> Response:
        try:
            return await self._http.request(
                method,
                self._address + path,
                params={"account_id": self._account, **params},
                headers={"X-API-KEY": self._api_key, "Accept": "application/json"},
                json=body,
            )
        except SiteError as error:
            message, wait = self._masked(error.message), error.retry_after_seconds
            raise SiteError(error.code, message, is_final=error.is_final, retry_after_seconds=wait) from None

    def _failure(self, response: Response, api: Api, *, is_first: bool) -> SiteError:
        problem = _problem(response)
        kind, title = text(problem.get("type")) or "", text(problem.get("title")) or "no reason given"
        if kind in _REFUSALS:
            return SiteError(ErrorCode.UNAUTHORIZED, _REFUSALS[kind].format(api=api))
        match response.status:
            case 401 | 402 | 403 | 404:
                reason = f"Unipile refused UNIPILE_API_KEY or the LinkedIn account: {title}"
                return SiteError(ErrorCode.UNAUTHORIZED, self._masked(reason))
            case 400 | 413 | 422 if is_first:
                # The detail may contain the whole schema of the API.
                detail = self._masked(text(problem.get("detail")) or "")[:_DETAIL_LENGTH]
                reason = f"Unipile refused the search: {self._masked(title)}" + (f" ({detail})" if detail else "")
                return SiteError(ErrorCode.INVALID_PARAMETERS, reason)
            case 400 | 413 | 422:
                # The detail may quote the cursor, which contains the account.
                return SiteError(ErrorCode.UPSTREAM, f"Unipile refused its own cursor: {self._masked(title)}")
            case _:
                return response.failure(self._masked(title))

    def _masked(self, message: str) -> str:
        return mask(message, (self._api_key, self._account))


def _problem(response: Response) -> dict[str, Json]:
    try:
        return mapping(response.json())
    except SiteError:
        return {}


def _distance(name: str, title: str) -> int:
    wanted, found = name.casefold(), title.casefold()
    if found == wanted:
        return 0
    return 1 if found.partition(",")[0].strip() == wanted.partition(",")[0].strip() else 2
