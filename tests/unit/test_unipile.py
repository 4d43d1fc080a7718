"""Searches for people through Unipile's API, simulated with respx."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.support.hostile import hostile, json_values
from tests.support.sources import Trial, item_of, items_of, search_source
from worker.errors import ErrorCode, InvalidItemError, SettingsError
from worker.http import open_http
from worker.model import Item, Json, Page, Progress
from worker.sources.unipile import UnipileSettings, UnipileSource
from worker.sources.unipile_api import read_dsn
from worker.testing import search

DSN = "api8.unipile.com:13851"
SEARCH = f"https://{DSN}/api/v1/linkedin/search"
PLACES = f"{SEARCH}/parameters"
KEY = "uni-very-secret/key=="
ACCOUNT = "acc-9q7l1UdLTdi0pA"
FOREVER = "eyJhY2NvdW50X2lkIjoi" + "x" * 60
SETTINGS = UnipileSettings(dsn=DSN, api_key=SecretStr(KEY))
SOURCE = UnipileSource(SETTINGS)

FIELDS = st.sampled_from((
    "type", "id", "name", "member_urn", "public_identifier", "public_profile_url", "profile_url", "headline", "summary",
    "current_positions", "company", "location", "items", "paging", "total_count", "cursor",
))  # fmt: skip
HOSTILE = st.recursive(
    json_values | st.sampled_from(("PEOPLE", "https://[", "\ud800", "at X", "javascript:alert(1)")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=16,
)
PEOPLE = st.dictionaries(FIELDS, HOSTILE, max_size=6).map(lambda fields: fields | {"id": "ACoAA1"})


def person(number: int, **fields: Json) -> dict[str, Json]:
    return {
        "type": "PEOPLE",
        "id": f"ACoAA{number}",
        "name": f"Person {number}",
        "member_urn": f"urn:li:member:{number}",
        "public_identifier": f"person-{number}",
        "headline": f"Engineer at Company {number}",
        **fields,
    }


def answer(numbers: range, cursor: str | None = None, total: int | None = None) -> dict[str, Json]:
    return {
        "object": "LinkedinSearch",
        "items": [person(number) for number in numbers],
        "paging": {"start": numbers.start, "page_count": len(numbers), "total_count": total or numbers.stop},
        "cursor": cursor,
    }


def book(pages: int, size: int) -> Callable[[httpx.Request], httpx.Response]:
    """Plays so many full pages, whose cursors are the numbers of the next ones."""

    def play(request: httpx.Request) -> httpx.Response:
        number = int(json.loads(request.content).get("cursor", 0))
        numbers = range(number * size, (number + 1) * size)
        cursor = str(number + 1) if number + 1 < pages else None
        return httpx.Response(200, json=answer(numbers, cursor, pages * size))

    return play


def bodies(route: respx.Route) -> list[Any]:
    return [json.loads(call.request.content) for call in route.calls]


async def find(
    source: UnipileSource = SOURCE,
    *,
    fails: bool = False,
    account: str | None = ACCOUNT,
    cursor: Json = None,
    next_page: int = 1,
    **parameters: Any,
) -> Trial:
    """Search for engineers; whether it fails has to be as expected."""
    asked = {"search_term": "engineer"} | parameters
    trial = await search_source(source, asked, account=account, cursor=cursor, next_page=next_page)
    assert (trial.error is not None) is fails, trial.error
    return trial


# The operator's settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dsn", [DSN, f"https://{DSN}", f" https://{DSN}/ ", DSN.upper()])
def test_the_address_is_read_with_and_without_its_scheme(dsn: str) -> None:
    assert read_dsn(dsn) == f"https://{DSN}/api/v1"


@pytest.mark.parametrize(
    "dsn",
    [
        "", " ", "http://api8.unipile.com:13851", "api8.unipile.com:0", "api8.unipile.com:99999", "api8.unipile.com:x",
        f"{DSN}/api/v1", f"{DSN}?port=1", f"user@{DSN}", "https://", "a b.unipile.com", "https://[::1",
    ],
)  # fmt: skip
def test_another_address_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(SettingsError, match=r"^dsn: must be HOST:PORT, such as api8\.unipile\.com:13851$"):
        UnipileSettings(dsn=dsn)


@pytest.mark.parametrize(
    ("dsn", "key", "missing"),
    [
        (None, KEY, "UNIPILE_DSN"),
        (DSN, None, "UNIPILE_API_KEY"),
        (None, None, "UNIPILE_DSN and UNIPILE_API_KEY"),
    ],
)
async def test_a_missing_credential_is_named(dsn: str | None, key: str | None, missing: str) -> None:
    source = UnipileSource(UnipileSettings(dsn=dsn, api_key=SecretStr(key) if key else None))
    assert source.credentials == {"UNIPILE_DSN": dsn is not None, "UNIPILE_API_KEY": key is not None}
    error = (await find(source, fails=True)).failure
    assert (error.code, error.is_final, error.message) == (ErrorCode.UNAUTHORIZED, True, f"the worker lacks {missing}")


@pytest.mark.parametrize("account", [None, ""])
async def test_a_user_without_an_account_is_asked_to_connect_one(account: str | None) -> None:
    error = (await find(fails=True, account=account)).failure
    assert (error.code, error.is_final) == (ErrorCode.UNAUTHORIZED, True)
    assert "connect one" in error.message


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"search_term": ""}, "search_term"),
        ({"api": "premium"}, "classic, sales_navigator, recruiter"),
        ({"network_distance": [4]}, "network_distance: must be a list of 1 to 3 of 1, 2, 3"),
        ({"results_wanted": 49}, "results_wanted: must be an integer from 50 to 2500"),
        ({"results_wanted": 2501}, "results_wanted: must be an integer from 50 to 2500"),
        ({"locations": []}, "locations"),
        ({"locations": [" "]}, "locations: must be a list of 1 to 10 texts of 1 to 100 characters"),
    ],
)
async def test_invalid_parameters_are_reported_with_what_is_allowed(parameters: dict[str, Any], problem: str) -> None:
    error = (await find(fails=True, **parameters)).failure
    assert (error.code, error.is_final) == (ErrorCode.INVALID_PARAMETERS, True)
    assert problem in error.message


# Searching -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "filters"),
    [
        ("classic", {"location": ["7"], "advanced_keywords": {"title": "CTO"}}),
        ("sales_navigator", {"location": {"include": ["7"]}, "role": {"include": ["CTO"]}}),
        (
            "recruiter",
            {
                "location": [{"id": "7", "scope": "CURRENT"}],
                "role": [{"keywords": "CTO", "priority": "MUST_HAVE", "scope": "CURRENT"}],
            },
        ),
    ],
)
@respx.mock
async def test_the_request_of_each_search(api: str, filters: dict[str, Any]) -> None:
    places = respx.get(PLACES).respond(json={"items": [{"id": "7", "title": "Berlin"}]})
    asked = respx.post(SEARCH).respond(json=answer(range(3)))
    await find(api=api, job_title="CTO", locations=["Berlin"], network_distance=[2, 1, 2])
    common = {"api": api, "category": "people", "keywords": "engineer", "network_distance": [1, 2]}
    assert bodies(asked) == [common | filters]
    assert places.calls.last.request.url.params["service"] == api.upper()
    for call in respx.calls:
        assert call.request.headers["X-API-KEY"] == KEY
        assert call.request.url.params["account_id"] == ACCOUNT


@respx.mock
async def test_a_search_without_filters_sends_none() -> None:
    asked = respx.post(SEARCH).respond(json=answer(range(3)))
    [page] = (await find()).pages
    assert bodies(asked) == [{"api": "classic", "category": "people", "keywords": "engineer"}]
    assert (page.is_last, page.cursor, page.calls_used) == (True, None, 1)


@respx.mock
async def test_pages_follow_the_cursor_to_the_end() -> None:
    asked = respx.post(SEARCH).mock(side_effect=book(pages=3, size=100))
    trial = await find(api="recruiter", results_wanted=2500)
    assert [(page.number, page.is_last) for page in trial.pages] == [(1, False), (2, False), (3, True)]
    assert bodies(asked)[1:] == [{"cursor": "1"}, {"cursor": "2"}]
    assert {call.request.url.params["limit"] for call in asked.calls} == {"100"}
    assert trial.ids == [f"urn:li:member:{number}" for number in range(300)]
    assert [(step.step, step.current, step.total) for step in trial.progress[1:]] == [
        ("searching", 0, 2500), ("searching", 100, 300), ("searching", 200, 300), ("searching", 300, 300),
    ]  # fmt: skip


@respx.mock
async def test_the_last_page_is_saved_with_the_whole_progress() -> None:
    respx.post(SEARCH).mock(side_effect=book(pages=2, size=50))
    progress: list[Progress] = []
    asked = {"search_term": "engineer", "results_wanted": 500}
    source = UnipileSource(SETTINGS)
    source.limits = {}  # permits would wait
    async with (
        open_http() as http,
        aclosing(search(source, "unipile", asked, http, account=ACCOUNT, progress=progress)) as pages,
    ):
        told = [(page.number, progress[-1].current, progress[-1].total) async for page, _ in pages]
    assert told[-1] == (2, 100, 100)


@respx.mock
async def test_no_more_results_are_requested_than_wanted() -> None:
    asked = respx.post(SEARCH).mock(side_effect=book(pages=9, size=50))
    trial = await find(results_wanted=120)
    assert [call.request.url.params["limit"] for call in asked.calls] == ["50", "50", "20"]
    assert trial.pages[-1].is_last


@respx.mock
async def test_results_above_the_cap_are_limited_and_reported() -> None:
    respx.post(SEARCH).mock(side_effect=book(pages=99, size=50))
    trial = await find(results_wanted=2500)
    assert len(trial.items) == 1000
    assert {(step.details["capped_at"], step.total) for step in trial.progress} == {(1000, 1000)}


@respx.mock
async def test_an_empty_page_is_the_last() -> None:
    respx.post(SEARCH).respond(json=answer(range(0), FOREVER))
    trial = await find()
    assert [page.is_last for page in trial.pages] == [True]
    assert (trial.items, trial.item_errors) == ([], [])


@respx.mock
async def test_a_page_keeps_the_answer_without_the_account() -> None:
    cursor = base64.b64encode(json.dumps({"account_id": ACCOUNT}).encode()).decode()
    respx.post(SEARCH).mock(
        side_effect=[httpx.Response(200, json=answer(range(50), cursor)), httpx.Response(200, json=answer(range(50)))]
    )
    pages = (await find()).pages
    kept = json.dumps([page.payload for page in pages])
    assert cursor not in kept
    assert ACCOUNT not in kept
    assert ACCOUNT not in json.dumps(pages[0].cursor)


# Places --------------------------------------------------------------------------------------------------------------


@respx.mock
async def test_the_place_of_just_that_name_is_taken() -> None:
    respx.get(PLACES).respond(
        json={
            "items": [
                {"id": "1", "title": "Greater Bremen Area"}, {"id": 2, "title": "Bremen, Germany"},
                {"id": "3", "title": "Bremen, Georgia, United States"},
            ]
        }
    )  # fmt: skip
    asked = respx.post(SEARCH).respond(json=answer(range(3)))
    trial = await find(locations=["bremen"])
    assert bodies(asked)[0]["location"] == ["2"]
    assert trial.progress[0].step == "locating"
    assert trial.progress[-1].details == {"locations": ["Bremen, Germany"]}


@respx.mock
async def test_a_place_with_a_different_title_is_used() -> None:
    respx.get(PLACES).respond(json={"items": [{"id": "90", "title": "New York City Metropolitan Area"}]})
    asked = respx.post(SEARCH).respond(json=answer(range(3)))
    await find(locations=["NYC"])
    assert bodies(asked)[0]["location"] == ["90"]


@pytest.mark.parametrize("items", [[], [{"title": "Nowhere"}], [None, 7]])
@respx.mock
async def test_an_unknown_place_is_named(items: Json) -> None:
    respx.get(PLACES, params__contains={"keywords": "Berlin"}).respond(json={"items": [{"id": "1", "title": "Berlin"}]})
    respx.get(PLACES, params__contains={"keywords": "Atlantis"}).respond(json={"items": items})
    error = (await find(fails=True, locations=["Berlin", "Atlantis"])).failure
    assert (error.code, error.is_final) == (ErrorCode.INVALID_PARAMETERS, True)
    assert error.message == "locations: LinkedIn knows no place 'Atlantis'"


# Going on ------------------------------------------------------------------------------------------------------------


@respx.mock
async def test_a_search_resumes_after_its_last_page() -> None:
    places = respx.get(PLACES).respond(json={"items": [{"id": "7", "title": "Berlin"}]})
    asked = respx.post(SEARCH).mock(side_effect=book(pages=4, size=50))
    whole = await find(locations=["Berlin"], results_wanted=200)
    places.reset()
    asked.reset()
    cursor = json.loads(json.dumps(whole.pages[1].cursor))
    rest = await find(cursor=cursor, next_page=3, locations=["Berlin"], results_wanted=200)
    assert [page.number for page in rest.pages] == [3, 4]
    assert [page.payload for page in rest.pages] == [page.payload for page in whole.pages[2:]]
    assert rest.items == whole.items[100:]
    assert bodies(asked) == [{"cursor": "2"}, {"cursor": "3"}]
    assert places.call_count == 0
    assert (rest.progress[0].step, rest.progress[0].current) == ("searching", 100)


@respx.mock
async def test_an_expired_cursor_restarts_the_search() -> None:
    respx.get(PLACES).respond(json={"items": [{"id": "7", "title": "Berlin"}]})
    asked = respx.post(SEARCH).mock(side_effect=book(pages=3, size=50))
    saved = (await find(locations=["Berlin"], results_wanted=150)).pages[0].cursor
    expired = httpx.Response(400, json={"type": "errors/invalid_parameters", "title": "Invalid cursor", "status": 400})
    play = book(pages=3, size=50)
    asked.reset()
    respx.get(PLACES).mock(side_effect=AssertionError)
    asked.mock(side_effect=lambda request: expired if asked.call_count == 0 else play(request))
    trial = await find(cursor=saved, next_page=2, locations=["Berlin"], results_wanted=150)
    assert [page.number for page in trial.pages] == [2, 3, 4]
    assert [step.current for step in trial.progress] == [50, 50, 100, 150]
    assert [body.get("cursor") for body in bodies(asked)] == ["1", None, "1", "2"]
    assert bodies(asked)[1]["location"] == ["7"]


@respx.mock
async def test_a_cursor_that_is_refused_repeatedly_fails_the_search() -> None:
    respx.post(SEARCH).mock(side_effect=book(pages=3, size=50))
    saved = (await find(results_wanted=150)).pages[0].cursor

    def play(request: httpx.Request) -> httpx.Response:
        problem = {"type": "errors/invalid_parameters", "title": "Bad", "detail": f"cursor {FOREVER} of {ACCOUNT}"}
        if "cursor" in json.loads(request.content):
            return httpx.Response(400, json=problem)
        return httpx.Response(200, json=answer(range(50), FOREVER))

    respx.post(SEARCH).mock(side_effect=play)
    error = (await find(fails=True, cursor=saved, next_page=2, results_wanted=150)).failure
    assert (error.code, error.is_final) == (ErrorCode.UPSTREAM, False)
    assert error.message == "Unipile refused its own cursor: Bad"


@pytest.mark.parametrize(
    "cursor", [7, "x", [], {}, {"after": "1", "found": 50}, {"after": None, "found": -1, "account": []}]
)
@respx.mock
async def test_an_invalid_cursor_starts_with_the_first_page(cursor: Json) -> None:
    asked = respx.post(SEARCH).respond(json=answer(range(3)))
    await find(cursor=cursor, next_page=5)
    assert "cursor" not in bodies(asked)[0]


@respx.mock
async def test_the_cursor_of_another_account_is_not_used() -> None:
    asked = respx.post(SEARCH).mock(side_effect=book(pages=2, size=50))
    saved = (await find()).pages[0].cursor
    asked.reset()
    trial = await find(cursor=saved, next_page=2, account="another")
    assert [page.number for page in trial.pages] == [2, 3]
    assert [body.get("cursor") for body in bodies(asked)] == [None, "1"]


@respx.mock
async def test_pages_before_a_failure_are_kept() -> None:
    limited = httpx.Response(429, json={"type": "errors/too_many_requests", "title": "Slow down", "status": 429})
    first = httpx.Response(200, json=answer(range(50), "1"))
    respx.post(SEARCH).mock(side_effect=[first, limited])
    trial = await find(fails=True)
    assert trial.failure.code is ErrorCode.RATE_LIMITED
    assert [(page.number, page.is_last) for page in trial.pages] == [(1, False)]


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "code", "is_final", "reason"),
    [
        (400, "invalid_parameters", ErrorCode.INVALID_PARAMETERS, True, "refused the search: A title (More of it)"),
        (413, "content_too_large", ErrorCode.INVALID_PARAMETERS, True, "A title"),
        (422, "unprocessable_entity", ErrorCode.INVALID_PARAMETERS, True, "A title"),
        (401, "disconnected_account", ErrorCode.UNAUTHORIZED, True, "reconnect it"),
        (401, "expired_credentials", ErrorCode.UNAUTHORIZED, True, "reconnect it"),
        (401, "missing_credentials", ErrorCode.UNAUTHORIZED, True, "UNIPILE_API_KEY"),
        (401, "another", ErrorCode.UNAUTHORIZED, True, "UNIPILE_API_KEY or the LinkedIn account: A title"),
        (403, "feature_not_subscribed", ErrorCode.UNAUTHORIZED, True, "no subscription for recruiter"),
        (403, "account_restricted", ErrorCode.UNAUTHORIZED, True, "sign in on LinkedIn"),
        (403, "insufficient_permissions", ErrorCode.UNAUTHORIZED, True, "A title"),
        (404, "resource_not_found", ErrorCode.UNAUTHORIZED, True, "connect it again"),
        (422, "invalid_account", ErrorCode.UNAUTHORIZED, True, "connect one"),
        (429, "too_many_requests", ErrorCode.RATE_LIMITED, False, "A title"),
        (500, "provider_error", ErrorCode.UPSTREAM, False, "A title"),
        (500, "unexpected_error", ErrorCode.UPSTREAM, False, "A title"),
        (503, "no_client_session", ErrorCode.UPSTREAM, False, "A title"),
        (504, "request_timeout", ErrorCode.TIMEOUT, False, "A title"),
    ],
)
@respx.mock
async def test_documented_errors(*, status: int, kind: str, code: ErrorCode, is_final: bool, reason: str) -> None:
    problem = {"type": f"errors/{kind}", "title": "A title", "status": status, "detail": "More of it"}
    respx.post(SEARCH).respond(status, json=problem)
    error = (await find(fails=True, api="recruiter")).failure
    assert (error.code, error.is_final) == (code, is_final)
    assert reason in error.message


@respx.mock
async def test_the_time_to_wait_is_passed_on() -> None:
    respx.post(SEARCH).respond(429, headers={"Retry-After": "90"}, json={"title": "Too many requests"})
    assert (await find(fails=True)).failure.retry_after_seconds == 90


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 418, 422, 429, 500, 502, 503])
@pytest.mark.parametrize("field", ["title", "detail"])
@respx.mock
async def test_neither_key_nor_account_is_in_a_message(status: int, field: str) -> None:
    respx.post(SEARCH).respond(status, json={"type": "errors/other", field: f"for {ACCOUNT} with {KEY}"})
    error = (await find(fails=True)).failure
    assert KEY not in error.message
    assert ACCOUNT not in error.message


@respx.mock
async def test_a_long_message_is_cut_with_no_part_of_the_key_left() -> None:
    respx.post(SEARCH).respond(400, json={"type": "errors/other", "title": "Bad", "detail": f"{'x' * 145}{KEY}"})
    assert KEY[:4] not in (await find(fails=True)).failure.message


@respx.mock
async def test_a_broken_connection_names_neither_key_nor_account() -> None:
    respx.post(SEARCH).mock(side_effect=httpx.ConnectError(f"cannot reach {SEARCH}?account_id={ACCOUNT} with {KEY}"))
    error = (await find(fails=True)).failure
    assert error.code is ErrorCode.NETWORK
    assert KEY not in error.message
    assert ACCOUNT not in error.message


@pytest.mark.parametrize("body", ["", "<html>502</html>", "null", "[]", "7", '{"items": {}}', "{}", "[" * 9_000])
@pytest.mark.parametrize("status", [200, 400, 401, 500])
@respx.mock
async def test_an_unexpected_body_fails_the_search(status: int, body: str) -> None:
    respx.post(SEARCH).respond(status, text=body)
    error = (await find(fails=True)).failure
    if status == 200:
        assert error.code in (ErrorCode.UNVERIFIED, ErrorCode.UPSTREAM)


# People --------------------------------------------------------------------------------------------------------------


def test_a_person_of_sales_navigator() -> None:
    item = SOURCE.parse(
        "unipile",
        {
            "object": "SearchResult",
            "type": "PEOPLE",
            "id": "ACwAAASNCJcB",
            "name": "Luisa Bann",
            "member_urn": "urn:li:member:76351639",
            "public_identifier": "luisa-bann-b876a021",
            "public_profile_url": "https://www.linkedin.com/in/luisa-bann-b876a021",
            "profile_url": "https://www.linkedin.com/sales/lead/ACwAAASNCJcB,NAME_SEARCH,NqOz",
            "network_distance": "DISTANCE_3",
            "industry": None,
            "location": "United States",
            "headline": "Building one\nhigh-rise at A time",
            "current_positions": [{"company": None}, {"company": "Hudson Group", "role": "Vice President"}],
        },
    )
    assert item.external_id == "urn:li:member:76351639"
    assert (item.title, item.organization, item.location) == ("Luisa Bann", "Hudson Group", "United States")
    assert item.url == "https://www.linkedin.com/in/luisa-bann-b876a021"
    assert item.description == "Building one\nhigh-rise at A time"
    assert item.data["network_distance"] == "DISTANCE_3"
    assert item.data["provider_id"] == "ACwAAASNCJcB"
    assert "industry" not in item.data
    assert "is_anonymous" not in item.data


@pytest.mark.parametrize(
    ("record", "url"),
    [
        ({"id": "ACoAA1", "profile_url": "https://www.linkedin.com/in/me?miniProfileUrn=urn"}, "in/me"),
        ({"id": "ACoAA1", "public_identifier": "jürgen/x", "profile_url": "https://e.example"}, "in/j%C3%BCrgen%2Fx"),
        ({"id": "ACoAA1"}, "in/ACoAA1"),
        ({"id": "ACwAA1", "profile_url": "javascript:alert(1)"}, "sales/lead/ACwAA1"),
        ({"id": "AEMAA1", "profile_url": None}, "talent/profile/AEMAA1"),
        ({"id": 17}, "in/17"),
    ],
)
def test_a_person_has_an_address(record: dict[str, Json], url: str) -> None:
    assert SOURCE.parse("unipile", record).url == f"https://www.linkedin.com/{url}"


@pytest.mark.parametrize("name", [None, "", " ", "LinkedIn Member", 7.5])
def test_a_person_without_a_name_is_anonymous(name: Json) -> None:
    item = SOURCE.parse(
        "unipile", {"id": "AEMAAAQMev", "name": name, "headline": "Engineer at LinkedIn", "member_urn": None}
    )
    assert (item.title, item.organization, item.external_id) == ("LinkedIn Member", "LinkedIn", "AEMAAAQMev")
    assert item.data["is_anonymous"] is True


def test_a_name_in_two_parts() -> None:
    assert SOURCE.parse("unipile", {"id": "1", "first_name": "Ada", "last_name": "Abel"}).title == "Ada Abel"


@pytest.mark.parametrize(
    ("headline", "company"),
    [
        ("Account Manager at Square", "Square"),
        ("Co-Founder at Demospace (YC W23)", "Demospace"),
        ("Engineer at Acme, Inc. | Ex-Beta", "Acme, Inc."),
        ("Director @Autone", "Autone"),
        ("Director @autone", None),
        ("CTO @ 37signals", "37signals"),
        ("Looking at the future", None),
        ("Consultant", None),
        ("at ", None),
        ("Chief at\nAcme", None),
        (None, None),
    ],
)
def test_the_company_in_a_headline(headline: str | None, company: str | None) -> None:
    assert SOURCE.parse("unipile", {"id": "1", "headline": headline}).organization == company


def test_other_results_are_left_out_and_invalid_ones_reported() -> None:
    items: list[Json] = [person(1), {"type": "COMPANY", "id": "9", "name": "Acme"}, {"type": "PEOPLE"}, "x"]
    records = SOURCE.records("unipile", Page(1, {"items": items}, 1))
    assert len(records) == 3
    assert SOURCE.parse("unipile", records[0]).title == "Person 1"
    for record in records[1:]:
        with pytest.raises(InvalidItemError):
            SOURCE.parse("unipile", record)


@given(payload=json_values | HOSTILE)
def test_any_page_is_read_or_refused(payload: Json) -> None:
    items = items_of(SOURCE, payload)
    assert items == items_of(SOURCE, payload)
    for item in items:
        check(item)


@given(record=HOSTILE | PEOPLE)
def test_any_record_is_a_person_or_refused(record: Json) -> None:
    item = item_of(SOURCE, record)
    assert item == item_of(SOURCE, record)
    if item is not None:
        check(item)


def check(item: Item) -> None:
    assert item.external_id
    assert item.title
    assert item.url.startswith("https://")


@hostile(50)
@given(body=HOSTILE, status=st.sampled_from((200, 200, 200, 400, 403, 500)))
async def test_any_answer_is_read_or_fails_the_search(body: Json, status: int) -> None:
    with respx.mock:
        respx.post(SEARCH).respond(status, content=json.dumps(body).encode())
        trial = await search_source(SOURCE, {"search_term": "engineer"}, account=ACCOUNT)
    assert KEY not in str(trial.error)
