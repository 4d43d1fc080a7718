"""Unipile's API v1 for LinkedIn: searches for people through an account, and ids of places.

Every account is connected and has all subscriptions, except for three special ones. All accounts find the same people,
each at a different network distance.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, ClassVar

from worker.local.boards.failures import Failure
from worker.local.boards.http import Request, Response
from worker.local.boards.sites.board import Board
from worker.local.boards.synthetic.jobs import words
from worker.local.boards.synthetic.people import Person, people
from worker.local.boards.synthetic.places import PLACES, find_places, is_in

_WITHOUT_SUBSCRIPTIONS, _DISCONNECTED_ACCOUNT, _UNKNOWN_ACCOUNT = "classic-only", "disconnected", "unknown"

_KEY = "played-unipile-key"
_SEARCH, _PARAMETERS = "/api/v1/linkedin/search", "/api/v1/linkedin/search/parameters"
_MAX_PAGE_SIZES = {"classic": 50, "sales_navigator": 100, "recruiter": 100}
_MAX_RESULTS = {"classic": 1000, "sales_navigator": 2500, "recruiter": 2500}
_ID_PREFIXES = {"classic": "ACo", "sales_navigator": "ACw", "recruiter": "AEM"}
_FIRST_PLACE_ID = 100_000_000
_DISTANCES = {1: "DISTANCE_1", 2: "DISTANCE_2", 3: "DISTANCE_3"}
_OUT_OF_NETWORK = "OUT_OF_NETWORK"

_Problem = tuple[HTTPStatus, str, str]
_INVALID: _Problem = (HTTPStatus.BAD_REQUEST, "invalid_parameters", "One or more request parameters are invalid.")
_NO_KEY: _Problem = (HTTPStatus.UNAUTHORIZED, "missing_credentials", "Missing credentials")
_DISCONNECTED: _Problem = (HTTPStatus.UNAUTHORIZED, "disconnected_account", "Disconnected account")
_UNKNOWN: _Problem = (HTTPStatus.NOT_FOUND, "resource_not_found", "Resource not found.")
_NOT_SUBSCRIBED: _Problem = (HTTPStatus.FORBIDDEN, "feature_not_subscribed", "Feature not subscribed")
_FAILURES: Mapping[Failure, _Problem] = {
    Failure.RATE_LIMITED: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", "Too many requests"),
    Failure.QUOTA_EXCEEDED: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", "Too many requests"),
    Failure.BLOCKED: (HTTPStatus.FORBIDDEN, "account_restricted", "Account restricted"),
    Failure.BAD_GATEWAY: (HTTPStatus.SERVICE_UNAVAILABLE, "no_client_session", "No client session"),
    Failure.SERVER_ERROR: (HTTPStatus.INTERNAL_SERVER_ERROR, "provider_error", "Provider error"),
}


class Unipile(Board):
    """api1.unipile.com, at the port of one operator. It lists people instead of jobs, generated from the seed only."""

    site = "unipile"
    hosts = frozenset({"api1.unipile.com"})
    port = 13443
    renamed: ClassVar[Mapping[str, str]] = {'"items":': '"results":'}
    credentials: ClassVar[Mapping[str, str]] = {
        "UNIPILE_DSN": "api1.unipile.com:13443",
        "UNIPILE_API_KEY": _KEY,
    }

    def page(self, request: Request) -> int | None:
        """Return the page of the cursor."""
        if request.path != _SEARCH:
            return None
        asked = _asked(request)
        return 1 if asked is None else asked["start"] // max(asked["limit"], 1) + 1

    def answer(self, request: Request) -> Response:
        """Answer a search, or a lookup of places."""
        account = request.parameter("account_id")
        if request.headers.get("x-api-key") != _KEY:
            return _problem(_NO_KEY)
        if account in ("", _UNKNOWN_ACCOUNT):
            return _problem(_UNKNOWN)
        if account == _DISCONNECTED_ACCOUNT:
            return _problem(_DISCONNECTED)
        match request.method, request.path:
            case "POST", path if path == _SEARCH:
                return self._search(request, account)
            case "GET", path if path == _PARAMETERS and request.parameter("type") == "LOCATION":
                return _places(request)
            case _:
                return _problem(_INVALID)

    def empty(self, request: Request) -> Response:  # noqa: ARG002
        """Answer without results."""
        return _found([], {}, 0, 0, None)

    def failed(self, failure: Failure) -> Response:
        """Answer with one of the API's errors."""
        headers = {"retry-after": "60"} if failure is Failure.RATE_LIMITED else {}
        return _problem(_FAILURES[failure], headers)

    def _search(self, request: Request, account: str) -> Response:
        asked = _asked(request)
        if asked is None or asked["account_id"] != account:
            return _problem(_INVALID)
        params, start, limit = asked["params"], asked["start"], asked["limit"]
        api = params["api"]
        if account == _WITHOUT_SUBSCRIPTIONS and api != "classic":
            return _problem(_NOT_SUBSCRIBED)
        if not 0 < limit <= _MAX_PAGE_SIZES[api]:
            return _problem(_INVALID)
        everybody = zip(people(self.seed), _distances(self.seed, account), strict=True)
        found = [(person, distance) for person, distance in everybody if _matches(person, distance, params)]
        found = found[: _MAX_RESULTS[api]]
        shown = [_result(person, distance, api) for person, distance in found[start : start + limit]]
        end = start + len(shown)
        cursor = _cursor({**asked, "start": end}) if end < len(found) else None
        return _found(shown, params, start, len(found), cursor)


@cache
def _distances(seed: int, account: str) -> tuple[int, ...]:
    """Return the network distance of each person from an account, from 1 to 3."""
    rng = random.Random(f"{seed} {account}")  # noqa: S311 - repeatable, not secret
    return tuple(rng.choices((1, 2, 3), (0.1, 0.4, 0.5), k=len(people(seed))))


def _asked(request: Request) -> dict[str, Any] | None:
    """Return account, parameters, start and limit of a search. `None` if the API does not accept it."""
    try:
        body = json.loads(request.body)
        if "cursor" not in body:
            asked = {"account_id": request.parameter("account_id"), "start": 0, "params": body}
        else:
            asked = json.loads(base64.b64decode(body["cursor"], validate=True))
        asked["limit"] = request.number("limit", 10)
        params = asked["params"]
        is_known = (
            params["api"] in _MAX_PAGE_SIZES and params["category"] == "people" and isinstance(asked["start"], int)
        )
    except (ValueError, TypeError, KeyError):
        return None
    return asked if is_known else None


def _matches(person: Person, distance: int, params: dict[str, Any]) -> bool:
    places, title = _filters(params)
    return (
        words(params.get("keywords", "")) <= person.words
        and words(title) <= words(person.role)
        and (not params.get("network_distance") or distance in params["network_distance"])
        and (not places or any(is_in(person.place, place) for place in places))
    )


def _filters(params: dict[str, Any]) -> tuple[list[str], str]:
    """Return the places and the title. Each of the three searches has another shape for them."""
    match params["api"]:
        case "classic":
            ids, title = params.get("location", []), params.get("advanced_keywords", {}).get("title", "")
        case "sales_navigator":
            ids = params.get("location", {}).get("include", [])
            title = " ".join(params.get("role", {}).get("include", []))
        case _:
            ids = [place["id"] for place in params.get("location", [])]
            title = " ".join(role["keywords"] for role in params.get("role", []))
    return [PLACES[int(place_id) - _FIRST_PLACE_ID].full_name for place_id in ids], title


def _result(person: Person, distance: int, api: str) -> dict[str, Any]:
    is_hidden = person.is_private and distance == max(_DISTANCES)
    person_id = _ID_PREFIXES[api] + person.id
    result: dict[str, Any] = {
        "object": "SearchResult",
        "type": "PEOPLE",
        "id": person_id,
        "name": f"{person.first_name} {person.last_name}",
        "member_urn": f"urn:li:member:{person.number}",
        "public_identifier": person.slug,
        "public_profile_url": f"https://www.linkedin.com/in/{person.slug}",
        "profile_url": f"https://www.linkedin.com/in/{person.slug}?miniProfileUrn=urn%3Ali%3Afs_miniProfile%3A{person_id}",
        "profile_picture_url": None,
        "network_distance": _DISTANCES[distance],
        "location": person.location,
        "industry": person.field.industry,
        "headline": person.headline,
    }
    if is_hidden:
        unknown = ("member_urn", "public_identifier", "public_profile_url", "profile_url", "industry")
        result |= dict.fromkeys(unknown) | {
            "name": None if api == "recruiter" else "LinkedIn Member",
            "network_distance": _OUT_OF_NETWORK,
        }
    if api != "classic":
        result["current_positions"] = [{"company": person.company, "company_id": None, "role": person.role}]
    return result


def _found(items: list[Any], params: dict[str, Any], start: int, total: int, cursor: str | None) -> Response:
    return Response.json(
        {
            "object": "LinkedinSearch",
            "items": items,
            "config": {"params": params},
            "paging": {"start": start, "page_count": len(items), "total_count": total},
            "cursor": cursor,
        }
    )


def _cursor(asked: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(asked).encode()).decode()


def _places(request: Request) -> Response:
    found = find_places(request.parameter("keywords"))[: request.number("limit", 10)]
    items = [
        {
            "object": "LinkedinSearchParameter",
            "id": str(_FIRST_PLACE_ID + PLACES.index(place)),
            "title": place.full_name,
        }
        for place in found
    ]
    answer = {"object": "LinkedinSearchParametersList", "items": items, "paging": {"page_count": len(items)}}
    return Response.json(answer)


def _problem(problem: _Problem, headers: Mapping[str, str] | None = None) -> Response:
    status, kind, title = problem
    body = {"type": f"errors/{kind}", "title": title, "status": status.value, "detail": None}
    return Response.json(body, status, headers)
