"""A scheduled repeat asks for what is newer, and stops early; but it never stops before what its user has not seen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

import pytest
from supabase import AsyncClient

from tests.support.database import Configure, Connection
from tests.support.queue import Row, found_ids, user_id
from tests.support.stack import SignIn
from tests.support.workers import worker_of
from worker.engine.worker import Worker
from worker.errors import ErrorCode, SiteError
from worker.local.supabase.stack import Endpoints
from worker.model import Item, Json, Page
from worker.sources import Search, Source
from worker.sources.parameters import SearchParameters


class Listings(Source):
    """A source of one site, whose pages are lists of ids; the test says which, and before which page the site fails."""

    name = "listings"
    sites: Sequence[str] = ("indeed",)
    parameters = SearchParameters
    ends_without_news = True

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pages: list[list[str]] = []
        self.fails_before_page: int | None = None
        self.fetched: list[int] = []

    async def fetch(self, search: Search) -> AsyncGenerator[Page, None]:  # noqa: ARG002
        self.fetched = []
        for number, ids in enumerate(self.pages, start=1):
            if number == self.fails_before_page:
                raise SiteError(ErrorCode.NETWORK, "cut off")
            self.fetched.append(number)
            yield Page(number, [*ids], 5)

    def records(self, site: str, page: Page) -> Sequence[Json]:  # noqa: ARG002
        assert isinstance(page.payload, list)
        return page.payload

    def parse(self, site: str, record: Json) -> Item:  # noqa: ARG002
        return Item(str(record), f"Engineer {record}", f"https://example.com/{record}", organization=f"Of {record}")


@pytest.fixture
def source(kind: str) -> Listings:
    return Listings(kind)


@pytest.fixture
def working(stack: Endpoints, source: Listings) -> Worker:
    return worker_of(stack, source)


async def repeat(service: AsyncClient, user: AsyncClient, kind: str, term: str) -> Row:
    """A run as a schedule inserts it."""
    row = {
        "user_id": await user_id(user), "kind": kind, "source": "cron",
        "parameters": {"search_term": term, "sites": ["indeed"]},
    }  # fmt: skip
    (run,) = (await service.table("search_runs").insert(row).execute()).data
    assert isinstance(run, dict)
    return dict(run)


async def ago(database: Connection, kind: str, age: timedelta) -> None:
    """Make all runs until now older."""
    await database.execute(
        """
        update public.search_runs
        set created_at = created_at - %(age)s, started_at = started_at - %(age)s, completed_at = completed_at - %(age)s
        where kind = %(kind)s
        """,
        {"age": age, "kind": kind},
    )


async def test_a_page_that_brings_nothing_new_is_the_last(
    *,
    sign_in: SignIn,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
    source: Listings,
    working: Worker,
) -> None:
    ada = await sign_in()
    source.pages = [["b1"], ["a1"]]
    await repeat(service, ada, kind, term)
    await working.once()
    await ago(database, kind, timedelta(days=1))
    source.pages = [["c1", "b1"], ["b1"], ["a1"]]
    run = await repeat(service, ada, kind, term)
    await working.once()
    assert source.fetched == [1, 2]
    assert set(await found_ids(ada, run["id"])) == {"c1", "b1"}


async def test_a_second_attempt_goes_on_past_what_the_first_had_saved(
    *,
    sign_in: SignIn,
    service: AsyncClient,
    database: Connection,
    configure: Configure,
    kind: str,
    term: str,
    source: Listings,
    working: Worker,
) -> None:
    ada = await sign_in()
    await configure("retry_delay", "0")
    await repeat(service, ada, kind, term)
    await working.once()
    await ago(database, kind, timedelta(days=1))

    source.pages, source.fails_before_page = [["d1"], ["c1"]], 2
    run = await repeat(service, ada, kind, term)
    await working.once()
    source.fails_before_page = None
    await working.once()
    assert source.fetched == [1, 2]
    assert set(await found_ids(ada, run["id"])) == {"d1", "c1"}


async def test_what_others_were_shown_since_is_new_to_a_user_who_was_not(
    *,
    sign_in: SignIn,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
    source: Listings,
    working: Worker,
) -> None:
    ada, bob = await sign_in(), await sign_in()
    await repeat(service, ada, kind, term)
    await repeat(service, bob, kind, term)
    await working.once()
    await ago(database, kind, timedelta(days=7))

    source.pages = [["c1"], ["b1"]]
    await repeat(service, ada, kind, term)
    await working.once()
    await ago(database, kind, timedelta(days=1))

    run = await repeat(service, bob, kind, term)
    await working.once()
    assert source.fetched == [1, 2]
    assert set(await found_ids(bob, run["id"])) == {"c1", "b1"}
    await ago(database, kind, timedelta(days=1))

    # To both of them all of it is known now.
    for user in (ada, bob):
        await repeat(service, user, kind, term)
        await working.once()
        await ago(database, kind, timedelta(days=1))
        assert source.fetched == [1]


async def test_a_page_that_could_not_be_read_says_nothing_of_the_next(
    *,
    sign_in: SignIn,
    service: AsyncClient,
    database: Connection,
    kind: str,
    term: str,
    source: Listings,
    working: Worker,
) -> None:
    ada = await sign_in()
    await repeat(service, ada, kind, term)
    await working.once()
    await ago(database, kind, timedelta(days=1))

    source.pages = [[""], ["c1"]]
    run = await repeat(service, ada, kind, term)
    await working.once()
    assert set(await found_ids(ada, run["id"])) == {"c1"}
