"""Canonical keys for application URLs, used to find duplicates.

A URL gets a key only if it identifies a single job. A careers page or a company's site is shared by different jobs and
gets none. In doubt there is no key: a missed duplicate may still be found by its title or its text, while merging two
different jobs hides one of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from worker.pipeline.urls import clean_url

MAX_KEY_LENGTH = 500
"""Longest key in characters. At four bytes each, it stays below the limit of a B-tree index (2,704 bytes a row)."""

_NESTED_REDIRECTS = 3

# Boards whose postings have several URLs: on the board's own domain, embedded in an employer's page (`gh_jid`,
# `ashby_jid`), in several languages, with and without a title. The patterns match `host/path?query`.
_POSTINGS = (
    ("linkedin.com", r"^(?:\w+\.)?linkedin\.com/jobs/view/(?:[^/?]*-)?(\d{6,})(?:[/?]|$)"),
    ("indeed.com", r"^(?:\w+\.)?indeed\.com/(?:job/(?:[^/?]*-)?|[^?]*\?(?:.*&)?v?jk=)([0-9a-f]{16})(?:[/?&]|$)"),
    ("greenhouse.io", r"^[\w.-]*\bgreenhouse\.io/(?:.*/jobs/|embed/job_app\?(?:.*&)?token=)(\d+)(?:[/?&]|$)"),
    ("greenhouse.io", r"[?&]gh_jid=(\d+)(?:&|$)"),
    ("ashbyhq.com", r"^jobs\.ashbyhq\.com/[^/?]+/([0-9a-f-]{36})(?:[/?]|$)"),
    ("ashbyhq.com", r"[?&]ashby_jid=([0-9a-f-]{36})(?:&|$)"),
    (
        None,
        (
            r"^[\w.-]+\.myworkday(?:jobs|site)\.com(?=/(?:[^?]*/)?(?:job|details)/)"
            r"[^?]*_((?=[a-z-]*\d)[\da-z-]+)(?:/apply(?:/\w+)?)?/?(?:\?|$)"
        ),
    ),
    ("jobvite.com", r"^(?:\w+\.)?jobvite\.com/(?:[^?]*/job/|[^?]*\?(?:.*&)?j=)(o\w{7})(?:[/?&]|$)"),
    (None, r"^[\w-]+\.applytojob\.com/apply/([\da-z]{10})(?:[/?]|$)"),
    (None, r"^[\w-]+\.bamboohr\.com/(?:careers|jobs)/(?:view\.php\?id=)?(\d+)(?:[/?&]|$)"),
)

# Click trackers: their token identifies a job and a publisher, so that each board has a different one for the same job.
_CLICK_TRACKERS = re.compile(
    r"(?:^|\.)(?:appcast\.io|jobsync\.io|recruitics\.com|joveo\.com|ht-jobs\.net|arla\.ai|talroo\.com|pandologic\.com"
    r"|jobadx\.com|jooble\.org|neuvoo\.com|talent\.com|adzuna\.\w+(?:\.\w+)?)$"
)
_REDIRECTS = re.compile(r"/(?:redirect|redir|track|click|clk|out|go|url)\b", re.IGNORECASE)

# Parameters that `clean_url` keeps, because they may select a page. They hardly ever select a different job.
_TRACKING = re.compile(
    r"(?:rx|tm|trk|cmp|at|ns)_\w*|ref|refid|referer|campaign|campaignid|channel|medium|feedid|feed|posteddate|ashby_src|"
    r"tz|tzname|lang|language|locale|mode|mobile|width|height|bga|needsredirect|jan1offset|jun1offset|"
    r"from|via|partner|publisher|session|sessionid|sid|cs|dt|s",
    re.IGNORECASE,
)
_BOARD_NAMES = re.compile(
    r"indeed|linkedin|glassdoor|zip_?recruiter|monster|careerbuilder|google|facebook|jobspy|naukri|bayt|hellowork|"
    r"stepstone|xing|jsearch|^INDE?$",
    re.IGNORECASE,
)

_JOB_PARAMETER = re.compile(
    r"(?:show|current|selected|rx_)?_?(?:job|req|requisition|posting|position|vacancy|opening|opportunity|advert?)"
    r"[-_]?(?:id|no|nr|num|number|code|key|ref|req)?|jid|jk|id",
    re.IGNORECASE,
)
_JOB_WORD = re.compile(
    r"(?:^|[^a-z])(?:jobs?|careers?|vacanc(?:y|ies)|openings?|positions?|postings?|opportunit(?:y|ies)|requisitions?|"
    r"apply|applications?|recruit(?:ing|ment)?|hiring|talent|stellen?|stellenangebote?|karriere|emplois?|offres?|empleos?|"
    r"j|details?|jobdetails?|view|viewjob\w*|opportunitydetail|recrutement|ats|hr)(?:[^a-z]|$)"
)
_LISTS = re.compile(r"jobs|careers|openings|positions|vacancies", re.IGNORECASE)
# An id after one of these segments identifies a board, an employer or a list of jobs.
_NO_JOB = re.compile(
    r"(?:jobs?)?boards?|all|clients?|compan(?:y|ies)|employers?|org(?:anization)?s?|search|categor(?:y|ies)|"
    r"locations?|departments?|teams?|pages?|accounts?|tenants?|groups?|stores?|campaigns?|brands?|tags?|blog|news",
    re.IGNORECASE,
)
_LOCALE = re.compile(r"[a-z]{2}(?:[-_][a-z]{2,4})?", re.IGNORECASE)
_STRONG_ID = re.compile(
    r"\d{6,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=\w*\d)[0-9a-f]{16,}|"
    r"(?:req|jr|r|job|ref|wd)[-_]?\d{5,}(?:-\d{1,2})?",
    re.IGNORECASE,
)
_WEAK_ID = re.compile(r"(?!(?:19|20)\d\d$)\d{4,5}|(?=[a-z\d]*[a-z])(?=(?:[a-z]*\d){2})[a-z\d]{7,}", re.IGNORECASE)


def apply_key(url: str | None) -> str | None:
    """Return the canonical form of an application URL, if it identifies a single job.

    The key ignores scheme, case of the host, `www.`, port, fragment, trailing slash, language, tracking parameters, and
    path segments after the id (a title, `/apply`). The target of a redirect is read from its query; no request is sent.

    Args:
        url: Any text.

    Returns:
        `host/path?query`, at most `MAX_KEY_LENGTH` ASCII characters. None if `url` is not a web address, does not
        identify a single job, or differs for each publisher.
    """
    return _key(url, _NESTED_REDIRECTS) if url else None


def _key(url: str, nested_redirects: int) -> str | None:
    if (cleaned := clean_url(url)) is None:
        return None
    address = urlsplit(cleaned)
    host = (address.hostname or "").removeprefix("www.").rstrip(".")
    if "." not in host:
        return None
    query = parse_qsl(address.query)
    if target := _redirect_target(address, query):
        return _key(target, nested_redirects - 1) if nested_redirects else None
    if _CLICK_TRACKERS.search(host):
        return None
    key = _known_posting(host, address) or _posting(host, address.path, query)
    return key if key and len(key) <= MAX_KEY_LENGTH else None


def _redirect_target(address: SplitResult, query: Sequence[tuple[str, str]]) -> str | None:
    if not _REDIRECTS.search(address.path):
        return None
    return next((value for _, value in query if re.match(r"https?://", value, re.IGNORECASE)), None)


def _known_posting(host: str, address: SplitResult) -> str | None:
    whole = f"{host}{address.path}?{address.query}"
    for owner, pattern in _POSTINGS:
        if found := re.search(pattern, whole, re.IGNORECASE):
            return f"{_quoted(owner or host)}/{_quoted(found[1])}"
    return None


def _posting(host: str, path: str, query: Sequence[tuple[str, str]]) -> str | None:
    segments = [segment for segment in unquote(path).split("/") if segment and not _LOCALE.fullmatch(segment)]
    kept = [(name, value) for name, value in query if not _is_tracking(name, value)]
    is_about_jobs = _is_about_jobs([host, *segments])
    if any(_is_job_parameter(name, value, is_about_jobs) for name, value in kept):
        # The id may depend on the other parameters: keep all of them.
        parameters = "&".join(sorted(f"{_quoted(name)}={_quoted(value)}" for name, value in kept))
        return f"{_address(host, segments)}?{parameters}"
    ends = [end for end in range(1, len(segments) + 1) if _is_job_path(segments, end)]
    return _address(host, segments[: ends[-1]]) if ends else None


def _is_job_path(segments: Sequence[str], end: int) -> bool:
    *before, segment = segments[:end]
    if segment.endswith(".careers") or any(_NO_JOB.fullmatch(word) for word in before[-1:]):
        return False
    if any(_NO_JOB.fullmatch(word) or _LISTS.fullmatch(word) for word in segments[end : end + 1]):
        return False
    return _is_id(segment, _is_about_jobs(before))


def _is_about_jobs(words: Sequence[str]) -> bool:
    return _JOB_WORD.search("/".join(words).lower()) is not None


def _is_tracking(name: str, value: str) -> bool:
    return _TRACKING.fullmatch(name) is not None or _BOARD_NAMES.search(value) is not None


def _is_job_parameter(name: str, value: str, is_about_jobs: bool) -> bool:
    if _JOB_PARAMETER.fullmatch(name):
        return _is_id(value, is_about_jobs)
    # ADP's `r` and Jobvite's `j` are too short to match by name.
    return len(name) == 1 and is_about_jobs and _STRONG_ID.fullmatch(value) is not None


def _is_id(text: str, is_about_jobs: bool) -> bool:
    """Return whether text contains an id. A weak id counts only in a URL about jobs."""
    parts = [text, *re.split(r"[-_.~]", text)]
    return any(_STRONG_ID.fullmatch(part) or (is_about_jobs and _WEAK_ID.fullmatch(part)) for part in parts)


def _address(host: str, segments: Sequence[str]) -> str:
    return "/".join([_quoted(host), *map(_quoted, segments)])


def _quoted(text: str) -> str:
    return quote(text, safe=".,:+~-_@!$'()*;", errors="replace")
