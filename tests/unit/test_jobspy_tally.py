from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ErrorCode
from worker.model import Json
from worker.sources.jobspy_parameters import JobSpyParameters
from worker.sources.jobspy_tally import UNREADABLE_PAGES, Answer, Tally


def asking(results_wanted: int = 1000, **parameters: Any) -> JobSpyParameters:
    return JobSpyParameters.read({"search_term": "nurse", "results_wanted": results_wanted} | parameters)


def job(number: int) -> dict[str, Json]:
    return {"id": f"li-{number}", "title": "Nurse", "job_url": f"https://jobs.example/{number}"}


def answer(*numbers: int, **told: Any) -> Answer:
    plain: Answer = {
        "rows": [job(number) for number in numbers],
        "has_more_rows": False,
        "has_more_pages": True,
        "error": None,
        "warnings": [],
        "skipped": 0,
        "skip_reason": None,
        "unread_page": None,
        "response_ms": 5,
        "pages": 1,
        "requests": 1,
        "size": 100,
    }
    return cast("Answer", {**plain, **told})


def added(tally: Tally, *answers: Answer) -> list[Json]:
    return [row["id"] for given in answers for row in tally.add(given)[0]]


def test_a_search_begins_with_the_first_page_and_asks_for_no_more_than_it_wants() -> None:
    tally = Tally("linkedin", asking(15), None)
    assert (tally.offset, tally.rows_to_ask_for) == (0, 10)
    added(tally, answer(*range(10)))
    assert (tally.offset, tally.rows_to_ask_for, tally.has_ended) == (10, 5, False)
    added(tally, answer(*range(10, 15)))
    assert (tally.has_ended, tally.failure()) == (True, None)


def test_where_a_search_is_one_call_it_asks_for_all_and_cannot_be_gone_on_after() -> None:
    tally = Tally("indeed", asking(250), None)
    assert tally.rows_to_ask_for == 250
    tally.add(answer(*range(100), pages=3, has_more_rows=True))
    assert (tally.has_ended, tally.cursor) == (False, None)
    tally.add(answer(*range(100, 120), pages=0))
    assert (tally.has_ended, tally.cursor, tally.failure()) == (True, None, None)


def test_a_job_repeated_in_the_next_slice_counts_once() -> None:
    first = Tally("linkedin", asking(), None)
    added(first, answer(*range(10)))
    # A new job has come meanwhile: the last one of the page before is now the first one of the next.
    second = Tally("linkedin", asking(), first.cursor)
    assert added(second, answer(9, *range(10, 19))) == [f"li-{number}" for number in range(10, 19)]
    assert second.found == 19


def test_a_site_that_repeats_itself_is_at_its_end() -> None:
    tally = Tally("linkedin", asking(), None)
    added(tally, answer(*range(10)), answer(*range(10)))
    assert (tally.has_ended, tally.failure(), tally.found) == (True, None, 10)


def test_a_page_that_failed_is_not_passed_over() -> None:
    tally = Tally("zip_recruiter", asking(), None)
    added(tally, answer(*range(40), pages=3, error="response status code 429 (blocked: use a proxy)"))
    assert (tally.has_ended, tally.offset) == (True, 40)
    assert tally.cursor is not None
    failure = tally.failure()
    assert failure is not None
    assert failure.code is ErrorCode.RATE_LIMITED


def test_unreadable_pages_end_a_search() -> None:
    tally = Tally("linkedin", asking(), None)
    added(tally, *[answer(*range(page * 10, page * 10 + 10)) for page in range(50)])
    for _ in range(UNREADABLE_PAGES):
        assert not tally.has_ended
        added(tally, answer(skipped=10, skip_reason="no title"))
    assert tally.has_ended
    failure = tally.failure()
    assert failure is not None
    assert failure.message == "30 of 530 jobs could not be read; the site may have changed: no title"


@pytest.mark.parametrize(("site", "is_suspect"), [("hellowork", True), ("naukri", False)])
def test_no_jobs_are_unverified_on_sites_with_captchas(site: str, is_suspect: bool) -> None:
    tally = Tally(site, asking(), None)
    added(tally, answer(has_more_pages=False))
    assert tally.has_ended
    assert (tally.failure() is not None) is is_suspect


def test_warnings_are_reported_once_per_search_even_if_it_is_resumed() -> None:
    warning = "job_type isn't supported, ignoring it"
    tally = Tally("linkedin", asking(job_type="contract"), None)
    assert tally.add(answer(1, warnings=[warning]))[1] == [warning]
    gone_on = Tally("linkedin", asking(job_type="contract"), tally.cursor)
    rows, warnings = gone_on.add(answer(warnings=[warning], rows=[job(2) | {"job_type": ["fulltime"]}, job(3)]))
    assert [row["id"] for row in rows] == ["li-3"]
    assert warnings == []


slices = st.lists(
    st.fixed_dictionaries({
        "jobs": st.integers(0, 10),
        "skipped": st.integers(0, 10),
        "pages": st.integers(1, 5),
        "unread_page": st.none() | st.just("response status code 429"),
    }),
    min_size=1,
    max_size=12,
)  # fmt: skip


@given(slices, st.booleans())
def test_a_resumed_search_ends_like_an_uninterrupted_one(sizes: list[dict[str, Any]], fetch_description: bool) -> None:
    asked = asking(60, fetch_description=fetch_description)
    whole = Tally("zip_recruiter", asked, None)
    interrupted = Tally("zip_recruiter", asked, None)
    number = 0
    for size in sizes:
        if whole.has_ended:
            break
        numbers = range(number, number + size["jobs"])
        number += size["jobs"]
        told = answer(*numbers, **{name: value for name, value in size.items() if name != "jobs"})
        assert whole.add(told) == interrupted.add(told)
        assert interrupted.has_ended == whole.has_ended
        assert (interrupted.found, interrupted.offset) == (whole.found, whole.offset)
        assert str(interrupted.failure()) == str(whole.failure())
        if (cursor := interrupted.cursor) is not None and not interrupted.has_ended:
            stored = json.dumps(cursor, allow_nan=False)
            assert len(stored) < 2000
            interrupted = Tally("zip_recruiter", asked, json.loads(stored))
