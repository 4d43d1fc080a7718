"""People on LinkedIn through Unipile's API v1, each search through the account of the user who asked for it.

Shapes and errors are those of https://developer.unipile.com/reference/linkedincontroller_search and its guide,
https://developer.unipile.com/docs/linkedin-search. LinkedIn has three searches for people, which the API calls
`classic`, `sales_navigator` and `recruiter`; one filter has another shape in each of them.
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
    # Two seconds between two pages, and one search at a time through an account: LinkedIn watches who asks faster.
    limits: Mapping[str, SiteLimits] = {"unipile": SiteLimits(min_delay_seconds=2, searches_per_account=1)}
    needs_account = True

    def __init__(self, settings: UnipileSettings | None = None) -> None:
        access = settings or UnipileSettings()
        self._address = None if access.dsn is None else read_dsn(access.dsn)
        self._api_key = plain(access.api_key)
        self.credentials = {"UNIPILE_DSN": access.dsn is not None, "UNIPILE_API_KEY": access.api_key is not None}

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
            response = await account.search(*position.request(asked))
            if response.status == HTTPStatus.BAD_REQUEST and is_resumed:
                position = replace(position, found=0, after=None)
                response = await account.search(*position.request(asked))
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

    def _account(self, search: Search) -> UnipileAccount:
        if self._address is None or self._api_key is None:
            missing = " and ".join(name for name, is_there in self.credentials.items() if not is_there)
            raise SiteError(ErrorCode.UNAUTHORIZED, f"the worker lacks {missing}")
        if not search.account:
            raise SiteError(ErrorCode.UNAUTHORIZED, "no LinkedIn account is connected: connect one, then search again")
        return UnipileAccount(search.http, self._address, self._api_key, search.account)


# What a search asks --------------------------------------------------------------------------------------------------


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

    def request(self, asked: PeopleParameters) -> tuple[Json, int]:
        """Return the body that asks for the page here, and how many people it is to have at most."""
        body: Json = _body(asked, self.locations) if self.after is None else {"cursor": self.after}
        return body, min(PAGE_SIZES[asked.api], asked.most - self.found)


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
