"""Web addresses."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.urls import TRACKING_PARAMETERS, URL_LENGTH, clean_url

PARTS = st.sampled_from(
    [
        "?",
        "&",
        "=",
        "#",
        "/",
        "//",
        ":",
        "@",
        "[",
        "]",
        "%",
        ";",
        "\\",
        " ",
        "\n",
        "utm_source=x",
        "jk=1",
        "ref=",
        "a",
        "B",
        "é",
        "443",
    ]
)
ADDRESSES = st.lists(PARTS | st.text(max_size=3), max_size=25).map(lambda parts: "https://" + "".join(parts))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("HTTPS://Jobs.Example.COM:443/a/B?x=1", "https://jobs.example.com/a/B?x=1"),
        ("http://example.com:80", "http://example.com/"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("https://example.com/job?utm_source=x&id=7&UTM_Medium=y&gclid=z&b=2", "https://example.com/job?id=7&b=2"),
        ("https://example.com/job?b=2&a=1&b=1&c", "https://example.com/job?b=2&a=1&b=1&c"),
        ("https://example.com/job?q=a%20b+c%26d", "https://example.com/job?q=a%20b+c%26d"),
        ("https://example.com/job?ref=indeed.com", "https://example.com/job"),
        ("https://example.com/job?ref=REQ-1234", "https://example.com/job?ref=REQ-1234"),
        ("https://example.com/?source=1-INDEED&jobid=R17", "https://example.com/?jobid=R17"),
        ("https://example.com/job#apply", "https://example.com/job"),
        ("https://example.com/job#:~:text=salary%201", "https://example.com/job"),
        ("https://example.com/#/jobs/1", "https://example.com/#/jobs/1"),
        ("https://example.com/careers#job-17", "https://example.com/careers#job-17"),
        ("https://example.com/a;jsessionid=AB12?x=1", "https://example.com/a?x=1"),
        ("https://www.indeed.com/viewjob?jk=ab12&from=serp&tk=1&xkcb=2", "https://www.indeed.com/viewjob?jk=ab12"),
        ("https://example.com/job?from=serp", "https://example.com/job?from=serp"),
        (
            "https://de.linkedin.com/jobs/view/1?position=1&pageNum=0&refId=a&trackingId=b",
            "https://de.linkedin.com/jobs/view/1",
        ),
        ("  https://example.com/a b\n", "https://example.com/a%20b"),
        ("https://[2001:DB8::1]:443/x", "https://[2001:db8::1]/x"),
        (
            "https://jobs.example.com/?rx_url=https://b.example/1&rx_source=x",
            "https://jobs.example.com/?rx_url=https://b.example/1",
        ),
    ],
)
def test_tracking_goes_and_the_rest_stays(raw: str, clean: str) -> None:
    assert clean_url(raw) == clean


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "example.com",
        "javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "ftp://example.com/",
        "mailto:a@example.com",
        "https://",
        "https:///path",
        "https://[::1",
        "https://a:port/",
        "https://a:99999/",
        "//example.com",
        "https://example.com/" + "a" * URL_LENGTH,
    ],
)
def test_an_invalid_url_is_none(raw: str | None) -> None:
    assert clean_url(raw) is None


@given(ADDRESSES)
def test_address_is_stable(raw: str) -> None:
    url = clean_url(raw)
    assert clean_url(url) == url
    if url is not None:
        parts = urlsplit(url)
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert not any(character.isspace() for character in url)
        url.encode()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["id", "page", "q", "jk"]), st.text(st.characters(codec="ascii", categories=["L", "N"]))
        ),
        max_size=3,
    )
)
def test_meaningful_parameters_keep_their_order(parameters: list[tuple[str, str]]) -> None:
    tracking = "".join(f"&{name}=x" for name in sorted(TRACKING_PARAMETERS))
    query = "&".join(f"{name}={value}{tracking}" for name, value in parameters)
    url = clean_url(f"https://example.com/?{query}")
    assert url is not None
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == parameters
