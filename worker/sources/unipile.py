"""People on LinkedIn through Unipile's API v1, each search through the account of the user who asked for it.

Shapes and errors are those of https://developer.unipile.com/reference/linkedincontroller_search and its guide,
https://developer.unipile.com/docs/linkedin-search. LinkedIn has three searches for people, which the API calls
`classic`, `sales_navigator` and `recruiter`; one filter has another shape in each of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from itertools import count
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, StringConstraints

from worker.http import Response, SiteHttp
from worker.masking import mask
from worker.model import ErrorCode, InvalidItemError, Item, Json, Page, Progress, SiteError, SiteLimits
from worker.sources import Search, Source
from worker.sources.fields import mapping, number, sequence, text
from worker.sources.parameters import SearchParameters

Api = Literal["classic", "sales_navigator", "recruiter"]

MOST_RESULTS: Mapping[Api, int] = {"classic": 1000, "sales_navigator": 2500, "recruiter": 2500}
"""People that LinkedIn shows for one search: https://developer.unipile.com/docs/provider-limits-and-restrictions."""

PAGE_SIZES: Mapping[Api, int] = {"classic": 50, "sales_navigator": 100, "recruiter": 100}
"""People on one page at most."""

ANONYMOUS = "LinkedIn Member"
"""LinkedIn's own name for people outside of the account's network, where it does not show theirs."""

PROFILES = {"ACo": "in", "ACw": "sales/lead", "AEM": "talent/profile"}
"""Where LinkedIn shows a person, by the first letters of the ids of its three searches."""

_COMPANY_IN_HEADLINE = re.compile(r"(?:\bat +|@ *)([^\W_][^|·•;()]*)")
_ITEM_FIELDS = frozenset({"object", "type", "id", "name", "location", "public_profile_url"})
_DETAIL_LENGTH = 150


class PeopleParameters(SearchParameters):
    """What a search for people asks for.

    Attributes:
        search_term: Keywords, with LinkedIn's own operators: `AND`, `OR`, `NOT`, quotes.
        api: Which of LinkedIn's searches; the account needs a subscription for each but `classic`.
        job_title: Title of the position that they hold.
        locations: Names of places; who lives in one of them is found.
        network_distance: 1 for the account's own contacts, 2 for the contacts of those, 3 for everybody else.
        results_wanted: People; where LinkedIn shows fewer for one search (`MOST_RESULTS`), as many as it shows.
    """

    search_term: str = Field(min_length=1, max_length=200)
    api: Api = "classic"
    job_title: str | None = Field(None, min_length=1, max_length=200)
    locations: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] | None = Field(
        None, min_length=1, max_length=10
    )
    network_distance: list[Literal[1, 2, 3]] | None = Field(None, min_length=1, max_length=3)
    results_wanted: int = Field(100, ge=50, le=2500)

    @property
    def most(self) -> int:
        """How many people to fetch at most."""
        return min(self.results_wanted, MOST_RESULTS[self.api])


class UnipileSource(Source):
    """Searches people on LinkedIn through a user's own account at Unipile.

    Args:
        dsn: The operator's address at Unipile, as `read_dsn` takes it; None: it is not set.
        api_key: The operator's key; None: it is not set.

    Raises:
        ValueError: `dsn` is no such address.
    """

    name = "unipile"
    kind = "people"
    sites: Sequence[str] = ("unipile",)
    parameters = PeopleParameters
    # Two seconds between two pages, and one search at a time through an account: LinkedIn watches who asks faster.
    limits: Mapping[str, SiteLimits] = {"unipile": SiteLimits(min_delay_seconds=2, searches_per_account=1)}
    needs_account = True

    def __init__(self, dsn: str | None, api_key: str | None) -> None:
        self._address = None if dsn is None else read_dsn(dsn)
        self._api_key = api_key
        self.credentials = {"UNIPILE_DSN": dsn is not None, "UNIPILE_API_KEY": api_key is not None}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search LinkedIn, page by page.

        A page's payload is Unipile's answer without its cursor, which holds the account's id. A search that goes on
        does not look its places up again. Where Unipile takes the cursor no more, or the account is another one than
        before, the search begins anew, and its pages have the next numbers.

        Raises:
            SiteError: Unipile or LinkedIn refused or failed. Pages that came before it are good.
        """
        asked = PeopleParameters.read(search.parameters)
        account = self._account(search)
        details: dict[str, Json] = {"capped_at": asked.most} if asked.most < asked.results_wanted else {}
        position = _Position.read(search.cursor, account.digest)
        is_resumed = position is not None
        if position is None:
            await search.report(Progress("locating", 0, asked.most, details))
            places = [await account.find_place(name, asked.api) for name in asked.locations or ()]
            if places:
                details = details | {"locations": [place.title for place in places]}
            position = _Position(account.digest, [place.id for place in places])

        shown, total = 0, asked.most
        for page_number in count(search.next_page):
            # What is told is saved, and never falls, also where the search begins anew.
            shown = max(shown, position.found)
            await search.report(Progress("searching", shown, max(shown, total), details))
            response = await account.search(asked, position)
            if response.status == HTTPStatus.BAD_REQUEST and is_resumed:
                position = replace(position, found=0, after=None)
                response = await account.search(asked, position)
            is_resumed = False
            answer = account.read(response, asked.api, is_first=position.after is None)
            after = text(answer.pop("cursor", None))
            items = sequence(answer["items"])
            found = position.found + len(items)
            is_last = after is None or not items or found >= asked.most
            position = replace(position, found=found, after=after)
            known = number(mapping(answer.get("paging")).get("total_count"))
            total = min(asked.most, known or asked.most)
            if is_last:
                shown = total = max(shown, found)
                await search.report(Progress("searching", shown, total, details))
            yield Page(
                page_number,
                answer,
                response.elapsed_ms,
                calls_used=response.requests,
                cursor=None if is_last else asdict(position),
                is_last=is_last,
            )
            if is_last:
                return

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        """Return the people of a page; what else LinkedIn mixes in is left out.

        Raises:
            InvalidItemError: The page has no list of items.
        """
        items = mapping(page.payload).get("items")
        if not isinstance(items, list):
            raise InvalidItemError("must be a list", "items")
        return [item for item in items if mapping(item).get("type", "PEOPLE") == "PEOPLE"]

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a person into an item: the name is its title, the employer its organization.

        People whom LinkedIn does not name to the account are called `ANONYMOUS`, and `data` has `is_anonymous`.

        Raises:
            InvalidItemError: It is no person, or has no id.
        """
        if not isinstance(record, dict):
            raise InvalidItemError("must be an object")
        person_id = text(record.get("id"))
        if person_id is None:
            raise InvalidItemError("is missing", "id")
        names = (text(record.get("first_name")), text(record.get("last_name")))
        name = text(record.get("name")) or " ".join(filter(None, names)) or ANONYMOUS
        headline, summary = text(record.get("headline")), text(record.get("summary"))
        data: dict[str, Json] = {
            field: value for field, value in record.items() if field not in _ITEM_FIELDS and value is not None
        }
        data["provider_id"] = person_id
        if name == ANONYMOUS:
            data["is_anonymous"] = True
        return Item(
            # One person has another id in each of LinkedIn's searches, but one number.
            external_id=text(record.get("member_urn")) or person_id,
            title=name,
            url=_profile(record, person_id),
            organization=_company(record, headline),
            location=text(record.get("location")),
            description="\n\n".join(filter(None, (headline, summary))) or None,
            data=data,
        )

    def _account(self, search: Search) -> _Account:
        if self._address is None or self._api_key is None:
            missing = " and ".join(name for name, is_there in self.credentials.items() if not is_there)
            raise SiteError(ErrorCode.UNAUTHORIZED, f"the worker lacks {missing}")
        if not search.account:
            raise SiteError(ErrorCode.UNAUTHORIZED, "no LinkedIn account is connected: connect one, then search again")
        return _Account(search.http, self._address, self._api_key, search.account)


def read_dsn(dsn: str) -> str:
    """Return the base address of Unipile's API.

    Args:
        dsn: Host and port as Unipile's dashboard shows them, such as `api8.unipile.com:13851`, with or without
            `https://`.

    Raises:
        ValueError: It is no such address. The message does not repeat it.
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


# What a search asks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    id: str
    title: str


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a search goes on, as it is kept with each page.

    Attributes:
        account: Tells the account from others, without naming it: another one's cursor is not taken.
        locations: LinkedIn's ids of the places.
        found: Records of the pages before.
        after: Unipile's cursor; None: begin with the first page.
    """

    account: str
    locations: list[str]
    found: int = 0
    after: str | None = None

    @classmethod
    def read(cls, cursor: Json, account: str) -> Self | None:
        """Return the position that a page was saved with; None if there is none for this account."""
        kept = mapping(cursor)
        found, after = number(kept.get("found")), text(kept.get("after"))
        if kept.get("account") != account or found is None or after is None:
            return None
        return cls(account, [place for place in map(text, sequence(kept.get("locations"))) if place], found, after)


def _body(asked: PeopleParameters, places: list[str]) -> dict[str, Json]:
    """Return the search as the API takes it, which asks each of the three in words of its own."""
    body: dict[str, Json] = {"api": asked.api, "category": "people", "keywords": asked.search_term}
    if asked.network_distance:
        body["network_distance"] = [*sorted(set(asked.network_distance))]
    match asked.api:
        case "classic":
            filters: dict[str, Json] = {
                "location": list(places),
                "advanced_keywords": {"title": asked.job_title} if asked.job_title else None,
            }
        case "sales_navigator":
            filters = {
                "location": {"include": list(places)} if places else None,
                "role": {"include": [asked.job_title]} if asked.job_title else None,
            }
        case "recruiter":
            title: dict[str, Json] = {"keywords": asked.job_title, "priority": "MUST_HAVE", "scope": "CURRENT"}
            filters = {
                "location": [{"id": place, "scope": "CURRENT"} for place in places],
                "role": [title] if asked.job_title else None,
            }
    return body | {name: value for name, value in filters.items() if value}


# Unipile -------------------------------------------------------------------------------------------------------------


class _Account:
    """Asks Unipile in the name of one account. Neither the account nor the key appears in an error's message."""

    def __init__(self, http: SiteHttp, address: str, api_key: str, account: str) -> None:
        self._http = http
        self._address = address
        self._api_key = api_key
        self._account = account

    @property
    def digest(self) -> str:
        """What tells the account from others, without naming it."""
        return hashlib.sha256(self._account.encode()).hexdigest()[:16]

    async def find_place(self, name: str, api: Api) -> _Place:
        """Look a place up.

        Raises:
            SiteError: `invalid_parameters`: LinkedIn knows no such place. Others: Unipile refused or failed.
        """
        response = await self._request(
            "GET",
            "/linkedin/search/parameters",
            {"type": "LOCATION", "service": api.upper(), "keywords": name, "limit": 10},
        )
        items = [mapping(item) for item in sequence(self.read(response, api)["items"])]
        places = [
            _Place(place_id, text(item.get("title")) or name) for item in items if (place_id := text(item.get("id")))
        ]
        if not places:
            raise SiteError(ErrorCode.INVALID_PARAMETERS, f"locations: LinkedIn knows no place {name!r}")
        # LinkedIn's order is by likeness. A place of just this name goes before its surroundings.
        return min(places, key=lambda place: _unlikeness(name, place.title))

    async def search(self, asked: PeopleParameters, position: _Position) -> Response:
        """Ask for the page at a position."""
        body: Json = _body(asked, position.locations) if position.after is None else {"cursor": position.after}
        limit = min(PAGE_SIZES[asked.api], asked.most - position.found)
        return await self._request("POST", "/linkedin/search", {"limit": limit}, body)

    def read(self, response: Response, api: Api, *, is_first: bool = True) -> dict[str, Json]:
        """Return an answer that has a list of items.

        Args:
            response: The answer.
            api: The search that was asked for.
            is_first: Whether it was asked for without a cursor.

        Raises:
            SiteError: It is another answer.
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
                # The detail may be the whole schema of the API.
                detail = self._masked(text(problem.get("detail")) or "")[:_DETAIL_LENGTH]
                reason = f"Unipile refused the search: {self._masked(title)}" + (f" ({detail})" if detail else "")
                return SiteError(ErrorCode.INVALID_PARAMETERS, reason)
            case 400 | 413 | 422:
                # The detail may quote the cursor, and with it the account.
                return SiteError(ErrorCode.UPSTREAM, f"Unipile refused its own cursor: {self._masked(title)}")
            case _:
                return response.failure(self._masked(title))

    def _masked(self, message: str) -> str:
        return mask(message, (self._api_key, self._account))


_RECONNECT = "the LinkedIn account is disconnected from Unipile: reconnect it, then search again"
_SIGN_IN = "the LinkedIn account needs its owner: sign in on LinkedIn, reconnect the account, then search again"
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
    "errors/invalid_account": "the account is none at LinkedIn: connect one",
}


def _problem(response: Response) -> dict[str, Json]:
    try:
        return mapping(response.json())
    except SiteError:
        return {}


def _unlikeness(name: str, title: str) -> int:
    asked, full = name.casefold(), title.casefold()
    if full == asked:
        return 0
    return 1 if full.partition(",")[0].strip() == asked.partition(",")[0].strip() else 2


# People --------------------------------------------------------------------------------------------------------------


def _company(person: dict[str, Json], headline: str | None) -> str | None:
    for position in map(mapping, sequence(person.get("current_positions"))):
        if company := text(position.get("company")):
            return company
    # A headline of several lines is a summary; a name begins with a capital letter or a digit ("at a glance" is none).
    if headline is None or "\n" in headline or not (named := _COMPANY_IN_HEADLINE.search(headline)):
        return None
    return named[1].strip() if named[1][0].isupper() or named[1][0].isdigit() else None


def _profile(person: dict[str, Json], person_id: str) -> str:
    public = text(person.get("public_identifier"))
    links = (
        text(person.get("public_profile_url")),
        f"https://www.linkedin.com/in/{quote(public, safe='', errors='replace')}" if public else None,
        (text(person.get("profile_url")) or "").partition("?")[0],
    )
    folder = PROFILES.get(person_id[:3], "in")
    by_id = f"https://www.linkedin.com/{folder}/{quote(person_id, safe='', errors='replace')}"
    return next((link for link in links if link and link.startswith("https://")), by_id)
