from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hostile import json_values
from tests.support.sources import items_of
from worker.errors import ErrorCode, InvalidItemError
from worker.model import Item, Json, Organization, Page
from worker.pipeline.normalize import JOBS, normalize
from worker.sources.jobspy import JobSpySource
from worker.sources.jobspy_tally import classify, is_exit_failure

SOURCE = JobSpySource()

ROW: dict[str, Json] = {"id": "in-1", "title": "Nurse", "job_url": "https://jobs.example/1"}


def test_item_of_a_full_row() -> None:
    item = SOURCE.parse(
        "indeed",
        ROW
        | {
            "site": "indeed",
            "company": "Charité",
            "location": "Berlin, Germany",
            "is_remote": False,
            "date_posted": "2026-11-22",
            "min_amount": 40000,
            "max_amount": 50000.5,
            "interval": "yearly",
            "currency": "EUR",
            "salary_source": "direct_data",
            "job_url_direct": "https://charite.example/jobs/1",
            "description": "Care.",
            "job_type": ["fulltime"],
            "vacancy_count": 3,
            "skills": None,
            "company_url": "https://de.indeed.com/cmp/Charite",
            "company_url_direct": "https://www.charite.example",
            "company_logo": "https://logos.example/charite.png",
            "company_addresses": "Charitéplatz 1, Berlin",
            "company_industry": "Health Care",
            "company_num_employees": "10,000+",
            "company_revenue": "$1B to $5B (USD)",
            "company_description": "A hospital.",
            "company_rating": 3.7,
            "company_reviews_count": 290,
        },
    )
    assert item == Item(
        external_id="in-1",
        title="Nurse",
        url="https://jobs.example/1",
        organization="Charité",
        location="Berlin, Germany",
        is_remote=False,
        posted_at="2026-11-22",
        salary_min=40000.0,
        salary_max=50000.5,
        salary_interval="yearly",
        currency="EUR",
        apply_url="https://charite.example/jobs/1",
        description="Care.",
        job_types=("fulltime",),
        employer=Organization(
            url="https://www.charite.example",
            profile_url="https://de.indeed.com/cmp/Charite",
            logo_url="https://logos.example/charite.png",
            address="Charitéplatz 1, Berlin",
            industry="Health Care",
            employees="10,000+",
            revenue="$1B to $5B (USD)",
            description="A hospital.",
            rating=3.7,
            review_count=290,
        ),
        data={"salary_source": "direct_data", "vacancy_count": 3},
    )


@pytest.mark.parametrize(
    ("interval", "least", "expected"),
    [
        (None, 300_000, (300_000, "yearly")),
        ("monthly", 15_000, (15_000, "monthly")),
        (None, 15_000, (15_000, "monthly")),
    ],
)
def test_pay_at_naukri_is_yearly_if_the_row_does_not_say(
    interval: str | None, least: int, expected: tuple[float, str]
) -> None:
    pay = {"min_amount": least, "max_amount": least, "interval": interval, "currency": "INR", "location": "Pune, India"}
    item = normalize(SOURCE.parse("naukri", ROW | pay), JOBS)
    assert (item.salary_min, item.salary_interval) == expected


@pytest.mark.parametrize("field", ["id", "title", "job_url"])
@pytest.mark.parametrize("value", [None, "", "  ", True])
def test_row_that_is_no_job_is_refused_by_its_field(field: str, value: Json) -> None:
    with pytest.raises(InvalidItemError, match="is missing") as refusal:
        SOURCE.parse("indeed", ROW | {field: value})
    assert refusal.value.field == field


@pytest.mark.parametrize("payload", [None, "<html>", [], {}, {"rows": "none"}])
def test_page_without_rows_is_refused(payload: Json) -> None:
    with pytest.raises(InvalidItemError, match="must be a list") as refusal:
        SOURCE.records("indeed", Page(1, payload, 0))
    assert refusal.value.field == "rows"


def test_links_are_web_addresses() -> None:
    with pytest.raises(InvalidItemError):
        SOURCE.parse("indeed", ROW | {"job_url": "javascript:alert(1)"})
    assert SOURCE.parse("indeed", ROW | {"job_url_direct": "javascript:alert(1)"}).apply_url is None


@pytest.mark.parametrize(
    ("site", "fields", "is_remote"),
    [
        ("linkedin", {"is_remote": True, "title": "Engineer of remote controls"}, None),
        ("linkedin", {"is_remote": False}, None),
        ("google", {"is_remote": True, "description": "wfh budget"}, None),
        ("google", {"is_remote": False}, None),
        ("indeed", {"is_remote": True}, True),
        ("indeed", {"is_remote": True, "description": "We have no Remote jobs."}, None),
        ("indeed", {"is_remote": True, "location": "Remote"}, None),
        ("indeed", {"is_remote": False, "description": "Remote"}, False),
        ("indeed", {"is_remote": None}, None),
        ("glassdoor", {"is_remote": True, "description": "We have no remote jobs."}, True),
        ("zip_recruiter", {"is_remote": True}, True),
    ],
)
def test_a_mark_that_jobspy_takes_from_the_texts_says_no_more_than_they(
    site: str, fields: dict[str, Json], is_remote: bool | None
) -> None:
    assert SOURCE.parse(site, ROW | fields).is_remote is is_remote


def test_work_mode_of_naukri() -> None:
    assert SOURCE.parse("naukri", ROW | {"work_from_home_type": "Hybrid"}).work_mode == "Hybrid"


@given(json_values)
def test_any_payload_is_read_or_refused(payload: Json) -> None:
    items_of(SOURCE, payload)


@given(
    st.lists(st.dictionaries(st.sampled_from([*ROW, "company", "min_amount", "date_posted", "job_type"]), json_values))
)
def test_any_rows_are_read_or_refused(rows: list[dict[str, Json]]) -> None:
    assert all(
        item.external_id and item.title and item.url for item in items_of(SOURCE, {"rows": [*rows], "warnings": []})
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("response status code 429 (blocked: use a proxy)", ErrorCode.RATE_LIMITED),
        ("response status code 403 (blocked: use a proxy)", ErrorCode.BLOCKED),
        ("response status code 999", ErrorCode.BLOCKED),
        ("response status code 406 (recaptcha required): the address is rate limited", ErrorCode.BLOCKED),
        ("unexpected page with no jobs (blocked?)", ErrorCode.BLOCKED),
        ("redirected to /authwall", ErrorCode.BLOCKED),
        ("response status code 407", ErrorCode.NETWORK),
        ("response status code 500", ErrorCode.UPSTREAM),
        ("response status code 404", ErrorCode.UPSTREAM),
        ("location 'Nowhere' not found", ErrorCode.NOT_FOUND),
        ("HTTPSConnectionPool(host='x', port=443): Read timed out. (read timeout=15)", ErrorCode.TIMEOUT),
        ("Failed to perform, curl: (28) Operation timed out after 15002 milliseconds", ErrorCode.TIMEOUT),
        ("Failed to perform, curl: (6) Could not resolve host: www.bayt.com", ErrorCode.NETWORK),
        ("Failed to perform, curl: (56) CONNECT tunnel failed, response 403", ErrorCode.NETWORK),
        ("Failed to perform, curl: (60) SSL certificate problem", ErrorCode.NETWORK),
        ("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", ErrorCode.NETWORK),
        ("('Connection broken: IncompleteRead(5 bytes read)', IncompleteRead())", ErrorCode.NETWORK),
        (
            "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /?keywords=captcha (Caused by ...",
            ErrorCode.NETWORK,
        ),
        ("API error: [{'message': 'the captcha service timed out'}]", ErrorCode.UPSTREAM),
        ("1 validation error for JobSearch\npageInfo\n  Field required, 'timed out'", ErrorCode.UPSTREAM),
        ("Expecting value: line 1 column 1 (char 0)", ErrorCode.UPSTREAM),
        ("no jobKeysMap or jobCards or jobCount in the page", ErrorCode.UPSTREAM),
        ("Invalid country_indeed: 'narnia'. Input should be 'argentina'", ErrorCode.INVALID_PARAMETERS),
    ],
)
def test_error_codes(error: str, code: ErrorCode) -> None:
    assert classify(error) is code


POOL = "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /?q=1 (Caused by "
SOCKS = (
    f"SOCKS{POOL}NewConnectionError(\"SOCKSHTTPSConnection(host='x', port=443): Failed to establish a new connection: "
)


@pytest.mark.parametrize(
    ("error", "is_of_exit"),
    [
        (
            f"{POOL}ProxyError('Unable to connect to proxy', NewConnectionError('Connection refused')))",
            True,
        ),
        (f"{POOL}ProxyError('Unable to connect to proxy', ConnectTimeoutError('Connection to x timed out.')))", True),
        (f"{POOL}ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 407 Who')))", True),
        (f"{POOL}ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 502 Bad')))", False),
        (f'{SOCKS}[Errno 111] Connection refused"))', True),
        (f'{SOCKS}SOCKS5 authentication failed"))', True),
        (f'{SOCKS}SOCKS5 proxy server sent invalid data"))', True),
        (f'{SOCKS}0x01: General SOCKS server failure"))', True),
        (f'{SOCKS}0x05: Connection refused"))', False),
        (f'{SOCKS}0x5B: Request rejected or failed"))', False),
        ("Failed to perform, curl: (5) Could not resolve proxy: proxy.invalid", True),
        ("Failed to perform, curl: (7) Failed to connect to x:443 over proxy 127.0.0.1 after 0 ms", True),
        ("Failed to perform, curl: (97) Received invalid version in initial SOCKS5 response..", True),
        ("Failed to perform, curl: (97) cannot complete SOCKS5 connection to x. (1)", True),
        ("Failed to perform, curl: (97) cannot complete SOCKS5 connection to x. (5)", False),
        ("Failed to perform, curl: (56) Proxy CONNECT aborted", True),
        ("Failed to perform, curl: (28) Operation timed out after 15002 milliseconds", False),
        ("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", False),
        (f"{POOL.replace('q=1', 'q=proxy+engineer')}ReadTimeoutError('Read timed out.'))", False),
        ("response status code 403", False),
    ],
)
def test_what_is_a_failure_of_the_proxy(error: str, is_of_exit: bool) -> None:
    assert is_exit_failure(error) is is_of_exit


@given(st.text())
def test_words_that_a_message_quotes_decide_nothing(words: str) -> None:
    assert classify(f"location '{words}' not found") is ErrorCode.NOT_FOUND
    assert classify(f"API error: [{words!r}]") is ErrorCode.UPSTREAM
