"""Searches people on LinkedIn through Unipile's API v1, with the LinkedIn account of the run's user.

Shapes and errors are described at https://developer.unipile.com/reference/linkedincontroller_search and
https://developer.unipile.com/docs/linkedin-search. LinkedIn has three searches for people: `classic`, `sales_navigator`
and `recruiter`. A filter has a different shape in each of them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from itertools import count
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field, StringConstraints

from worker.errors import ErrorCode, InvalidItemError, SiteError
from worker.model import Item, Json, Page, Progress, SiteLimits
from worker.settings import ApiKey, EnvironmentSettings, plain
from worker.sources import Search, Source
from worker.sources.fields import mapping, number, sequence, text
from worker.sources.parameters import SearchParameters
from worker.sources.unipile_api import Api, UnipileAccount, read_dsn

MAX_RESULTS: Mapping[Api, int] = {"classic": 1000, "sales_navigator": 2500, "recruiter": 2500}
"""Most people that LinkedIn returns per search: https://developer.unipile.com/docs/provider-limits-and-restrictions."""

PAGE_SIZES: Mapping[Api, int] = {"classic": 50, "sales_navigator": 100, "recruiter": 100}
"""Most people on one page."""

ANONYMOUS = "LinkedIn Member"
"""The name that LinkedIn shows for people outside the account's network."""

PROFILE_PATHS = {"ACo": "in", "ACw": "sales/lead", "AEM": "talent/profile"}
"""Path of a profile on LinkedIn by the prefix of the person's id, which differs between the three searches."""

_COMPANY_IN_HEADLINE = re.compile(r"(?:\bat +|@ *)([^\W_][^|·•;()]*)")
_ITEM_FIELDS = frozenset({"object", "type", "id", "name", "location", "public_profile_url"})


class PeopleParameters(SearchParameters):
    """Parameters of a search for people.

    Attributes:
        search_term: Keywords with LinkedIn's operators: `AND`, `OR`, `NOT`, quotes.
        api: The search to use. All but `classic` need a subscription of the account.
        job_title: Title of the current position.
        locations: Names of places. A person must be in one of them.
        network_distance: 1: the account's contacts; 2: their contacts; 3: everybody else.
        results_wanted: Number of people, limited by `MAX_RESULTS`.
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
        """Most people to fetch."""
        return min(self.results_wanted, MAX_RESULTS[self.api])


def _check_dsn(dsn: str) -> str:
    read_dsn(dsn)
    return dsn


class UnipileSettings(EnvironmentSettings):
    """The operator's access to Unipile.

    Attributes:
        dsn: The operator's address, as `read_dsn` reads it; None: it is not set.
        api_key: The operator's key; None: it is not set.
    """

    dsn: Annotated[str, AfterValidator(_check_dsn)] | None = Field(
        default=None,
        validation_alias="UNIPILE_DSN",
        description="Address of the Unipile API, as its dashboard shows it: api8.unipile.com:13851.",
    )
    api_key: ApiKey | None = Field(
        default=None, validation_alias="UNIPILE_API_KEY", description="Key of Unipile, for the site unipile."
    )


class UnipileSource(Source):
    """Searches people on LinkedIn through a user's own account at Unipile.

    Args:
        settings: The operator's access to Unipile; by default from the environment.
    """

    name = "unipile"
    kind = "people"
    sites: Sequence[str] = ("unipile",)
    parameters = PeopleParameters
    settings = UnipileSettings
    # LinkedIn restricts accounts that send requests faster.
    limits: Mapping[str, SiteLimits] = {"unipile": SiteLimits(min_delay_seconds=2, searches_per_account=1)}
    needs_account = True

    def __init__(self, settings: UnipileSettings | None = None) -> None:
        access = settings or UnipileSettings()
        self._address = None if access.dsn is None else read_dsn(access.dsn)
        self._api_key = plain(access.api_key)
        self.credentials = {"UNIPILE_DSN": access.dsn is not None, "UNIPILE_API_KEY": access.api_key is not None}

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:
        """Search LinkedIn page by page.

        A page's payload is Unipile's response without its cursor, which contains the account's id. A resumed search
        does not look up its places again. If Unipile rejects the cursor, or the account is a different one, the search
        restarts, and its pages get the next numbers.

        Raises:
            SiteError: Unipile or LinkedIn refused the request or failed. Pages yielded before remain valid.
        """
        parameters = PeopleParameters.read(search.parameters)
        account = self._account(search)
        details: dict[str, Json] = {"capped_at": parameters.most} if parameters.most < parameters.results_wanted else {}
        position = _Position.read(search.cursor, account.digest)
        is_resumed = position is not None
        if position is None:
            await search.report(Progress("locating", 0, parameters.most, details))
            places = [await account.find_place(name, parameters.api) for name in parameters.locations or ()]
            if places:
                details = details | {"locations": [place.title for place in places]}
            position = _Position(account.digest, [place.id for place in places])

        shown, total = 0, parameters.most
        for page_number in count(search.next_page):
            # Reported progress must not decrease, even if the search restarts.
            shown = max(shown, position.found)
            await search.report(Progress("searching", shown, max(shown, total), details))
            response = await account.search(*position.request(parameters))
            if response.status == HTTPStatus.BAD_REQUEST and is_resumed:
                position = replace(position, found=0, after=None)
                response = await account.search(*position.request(parameters))
            is_resumed = False
            answer = account.read(response, parameters.api, is_first=position.after is None)
            after = text(answer.pop("cursor", None))
            items = sequence(answer["items"])
            found = position.found + len(items)
            is_last = after is None or not items or found >= parameters.most
            position = replace(position, found=found, after=after)
            known = number(mapping(answer.get("paging")).get("total_count"))
            total = min(parameters.most, known or parameters.most)
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
        """Return the people of a page, without other types of results.

        Raises:
            InvalidItemError: The page has no list of items.
        """
        items = mapping(page.payload).get("items")
        if not isinstance(items, list):
            raise InvalidItemError("must be a list", "items")
        return [item for item in items if mapping(item).get("type", "PEOPLE") == "PEOPLE"]

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        """Turn a person into an item. The title is the name, the organization is the employer.

        A person whose name LinkedIn does not show has the title `ANONYMOUS` and `is_anonymous` in `data`.

        Raises:
            InvalidItemError: The record is not an object, or has no id.
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
            # A person's id differs between LinkedIn's searches; the member number does not.
            external_id=text(record.get("member_urn")) or person_id,
            title=name,
            url=_profile(record, person_id),
            organization=_company(record, headline),
            location=text(record.get("location")),
            description="\n\n".join(filter(None, (headline, summary))) or None,
            data=data,
        )

    def _account(self, search: Search) -> UnipileAccount:
        if self._address is None or self._api_key is None:
            missing = " and ".join(name for name, is_there in self.credentials.items() if not is_there)
            raise SiteError(ErrorCode.UNAUTHORIZED, f"the worker lacks {missing}")
        if not search.account:
            raise SiteError(ErrorCode.UNAUTHORIZED, "no LinkedIn account is connected: connect one, then search again")
        return UnipileAccount(search.http, self._address, self._api_key, search.account)


# Requests ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Position:
    """Where to resume a search. Kept as the cursor of each page.

    Attributes:
        account: Digest of the account. The cursor of a different account is not valid.
        locations: LinkedIn's ids of the places.
        found: Number of records on the pages before.
        after: Unipile's cursor; None: the first page.
    """

    account: str
    locations: list[str]
    found: int = 0
    after: str | None = None

    @classmethod
    def read(cls, cursor: Json, account: str) -> Self | None:
        """Parse a page's cursor. Return None if it is missing, invalid, or of a different account."""
        kept = mapping(cursor)
        found, after = number(kept.get("found")), text(kept.get("after"))
        if kept.get("account") != account or found is None or after is None:
            return None
        return cls(account, [place for place in map(text, sequence(kept.get("locations"))) if place], found, after)

    def request(self, parameters: PeopleParameters) -> tuple[Json, int]:
        """Return the body of the request for the next page, and the most people to request."""
        body: Json = _body(parameters, self.locations) if self.after is None else {"cursor": self.after}
        return body, min(PAGE_SIZES[parameters.api], parameters.most - self.found)


def _body(parameters: PeopleParameters, places: list[str]) -> dict[str, Json]:
    """Return the body of a new search. Its format differs between the three searches."""
    body: dict[str, Json] = {"api": parameters.api, "category": "people", "keywords": parameters.search_term}
    if parameters.network_distance:
        body["network_distance"] = [*sorted(set(parameters.network_distance))]
    match parameters.api:
        case "classic":
            filters: dict[str, Json] = {
                "location": list(places),
                "advanced_keywords": {"title": parameters.job_title} if parameters.job_title else None,
            }
        case "sales_navigator":
            filters = {
                "location": {"include": list(places)} if places else None,
                "role": {"include": [parameters.job_title]} if parameters.job_title else None,
            }
        case "recruiter":
            title: dict[str, Json] = {"keywords": parameters.job_title, "priority": "MUST_HAVE", "scope": "CURRENT"}
            filters = {
                "location": [{"id": place, "scope": "CURRENT"} for place in places],
                "role": [title] if parameters.job_title else None,
            }
    return body | {name: value for name, value in filters.items() if value}


# People --------------------------------------------------------------------------------------------------------------


def _company(person: dict[str, Json], headline: str | None) -> str | None:
    for position in map(mapping, sequence(person.get("current_positions"))):
        if company := text(position.get("company")):
            return company
    # A headline of several lines is a summary. A company's name begins with a capital letter or a digit, unlike the
    # words in "at a glance".
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
    path = PROFILE_PATHS.get(person_id[:3], "in")
    by_id = f"https://www.linkedin.com/{path}/{quote(person_id, safe='', errors='replace')}"
    return next((link for link in links if link and link.startswith("https://")), by_id)
