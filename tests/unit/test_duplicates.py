from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.model import Item, Place
from worker.pipeline.apply_keys import MAX_KEY_LENGTH, apply_key
from worker.pipeline.duplicates import facts_of, have_one_text, keys, may_be_duplicates

DESCRIPTION = (
    "We are looking for a reliable colleague who keeps our warehouse in order at night. You unload trucks, stock "
    "shelves and lead a small crew. We offer health insurance, paid holidays and a pension plan. Shifts start at 9 PM."
)
ITEM = Item(
    external_id="1",
    title="Night Auditor",
    url="https://board.example/1",
    organization="Acme",
    location="Chicago, IL, US",
    description=DESCRIPTION,
    city="Chicago",
    region="IL",
    country="US",
)

texts = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Mn", "Lo", "Zs"])) | st.sampled_from(["", " ", "\0"])
maybe_texts = st.none() | texts
items = st.builds(
    Item,
    external_id=texts,
    title=texts,
    url=texts,
    organization=maybe_texts,
    location=maybe_texts,
    is_remote=st.none() | st.booleans(),
    apply_url=maybe_texts | st.builds("https://{}.example/{}?{}".format, texts, texts, texts),
    description=maybe_texts,
    city=maybe_texts,
    region=maybe_texts,
    country=maybe_texts,
    work_mode=st.sampled_from([None, "remote", "hybrid", "onsite"]),
)
words = st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8), min_size=1, max_size=5).map(" ".join)


def match_key(**fields: Any) -> str | None:
    return keys(replace(ITEM, **fields)).match


def are_duplicates(a: Item, b: Item) -> bool:
    """Compare two items as the worker does, by the keys that they are stored with."""
    stored = (
        replace(item, organization_key=found.organization, place_key=found.place)
        for item, found in ((item, keys(item)) for item in (a, b))
    )
    return may_be_duplicates(*map(facts_of, stored)) and have_one_text(a.description, b.description)


def are_with(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return are_duplicates(replace(ITEM, **first), replace(ITEM, **second))


# --- the address to apply at


@pytest.mark.parametrize(
    "addresses",
    [
        (
            "https://careers-acme.icims.com/jobs/47546/job?utm_source=indeed_integration&iis=Job%20Board&iisn=Indeed",
            "http://careers-acme.icims.com/jobs/47546/night-auditor/job",
            "https://www.careers-acme.icims.com:443/jobs/47546/#apply",
            "HTTPS://Careers-ACME.iCIMS.com/jobs/47546/login?mobile=false&width=960",
        ),
        (
            "https://acme.wd5.myworkdayjobs.com/en-US/External/job/Chicago-IL/Night-Auditor_JR10003284",
            "https://acme.wd5.myworkdayjobs.com/External/job/Chicago-IL/Night-Auditor_JR10003284/apply?source=LinkedIn",
        ),
        (
            "https://boards.greenhouse.io/acme/jobs/4012345004?gh_src=abc",
            "https://job-boards.greenhouse.io/acme/jobs/4012345004",
            "https://boards.greenhouse.io/embed/job_app?for=acme&token=4012345004",
            "https://www.acme.example/careers/?gh_jid=4012345004",
        ),
        (
            "https://jobs.lever.co/acme/0b16c9c5-2e0b-4f5f-8f4c-1f2d3c4b5a69",
            "https://jobs.lever.co/acme/0b16c9c5-2e0b-4f5f-8f4c-1f2d3c4b5a69/apply?lever-source=Indeed",
        ),
        (
            "https://jobs.ashbyhq.com/acme/0b16c9c5-2e0b-4f5f-8f4c-1f2d3c4b5a69/application",
            "https://acme.example/jobs?ashby_jid=0b16c9c5-2e0b-4f5f-8f4c-1f2d3c4b5a69",
        ),
        (
            "https://de.linkedin.com/jobs/view/night-auditor-at-acme-3812345678?trk=public",
            "https://www.linkedin.com/jobs/view/3812345678/",
        ),
        (
            "http://www.indeed.com/job/night-auditor-82a1b27ecf8e054a",
            "https://www.indeed.com/viewjob?from=serp&jk=82a1b27ecf8e054a",
        ),
        (
            "https://ats.example/redirect?id=5&to=https%3A%2F%2Fjobs.acme.example%2Fus%2Fen%2Fjob%2FR0459500%2FAuditor",
            "https://jobs.acme.example/job/R0459500",
        ),
        (
            "https://recruiting.ats.example/main/home?r=5001069482706&c=1217101&d=Careers&rb=INDEED",
            "https://recruiting.ats.example/main/home?c=1217101&d=Careers&r=5001069482706&utm_medium=x",
        ),
    ],
)  # fmt: skip
def test_one_posting_has_one_key_whichever_way_its_address_is_written(addresses: tuple[str, ...]) -> None:
    found = {apply_key(address) for address in addresses}
    assert len(found) == 1
    assert None not in found


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "https://acme.example",
        "https://acme.example/careers",
        "https://acme.example/careers?utm_source=indeed&utm_campaign=PUSH_20241211_11238",
        "https://acme.example/careers/2025",
        "https://acme.example/join-staff#o-12345678",
        "https://jobs.acme.example/search?location=60601&page=1234",
        "https://recruiting2.ats.example/ACME1006/JobBoard/2fcbb6f4-e717-17cb-9327-3dd87a55b08d",
        "https://ats.example/jobs/All/2fcbb6f4-e717-17cb-9327-3dd87a55b08d/Acme",
        "https://secure.ats.example/ta/6198829.careers",
        "https://ats.example/companies/123456-acme/jobs",
        "https://ats.example/main/home?cid=7d92b801-29ce-4a4c-bf8e-d30b9d909c5f&lang=en_US",
        "https://acme.ats.example/loc/chicago/job/night-auditor",
        "https://click.appcast.io/track/kk0v63o-org?cs=5c",
        "mailto:jobs@acme.example",
        "javascript:alert(1)",
        "https://[",
        "https://localhost/jobs/123456",
        "apply on our site",
        "https://acme.example/jobs/" + "1" * 600,
    ],
)
def test_an_address_that_names_no_single_job_has_no_key(address: str | None) -> None:
    assert apply_key(address) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://jobs.acme.example/jobs/47546/job", "https://jobs.acme.example/jobs/47551/job"),
        ("https://jobs.acme.example/apply?jobId=47546", "https://jobs.acme.example/apply?jobId=47551"),
        ("https://ats.example/view?job=1394&clientkey=A8D573", "https://ats.example/view?job=1394&clientkey=3A7252"),
        ("https://ats.example/acme/jobs/47546", "https://ats.example/beta/jobs/47546"),
        ("https://acme.ats.example/jobs/47546", "https://beta.ats.example/jobs/47546"),
        ("https://apply.workable.com/j/D99CCDE990", "https://apply.workable.com/j/D99CCDE991"),
    ],
)
def test_two_postings_have_two_keys(one: str, other: str) -> None:
    found = {apply_key(one), apply_key(other)}
    assert len(found) == 2
    assert None not in found


@given(st.integers(100_000, 10**12), words, words)
def test_a_number_behind_jobs_is_the_job_whatever_follows(number: int, company: str, title: str) -> None:
    address = f"https://jobs.{company.replace(' ', '')}.example/jobs/{number}"
    expected = address.removeprefix("https://")
    assert apply_key(address) == expected
    assert apply_key(f"{address}/{title.replace(' ', '-')}/apply/?utm_source={title.replace(' ', '+')}") == expected


# --- the title, the organization and the place


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Sr. Software Engineer", "SENIOR  software engineer"),
        ("Senior Software Engineer (m/w/d)", "Senior Software Engineer (f/m/x)"),
        ("Entwickler:in", "Entwickler (w|m|d)"),
        ("Chargé d'affaires H/F", "Charge d\N{RIGHT SINGLE QUOTATION MARK}affaires"),
        ("Machine Repair Technician II", "Machine Repair Technician 2"),
        ("Stocker - 3rd Shift, Full-Time", "Stocker (third shift / full time)"),
        ("R&D Chemist", "R & D Chemist"),
        ("R.N. Supervisor", "RN Supervisor"),
        ("Night Auditor", "Now Hiring: Night Auditor"),
        ("Night Auditor", "Night Auditor in Chicago, IL"),
        ("Night Auditor", "Chicago - Night Auditor needed!"),
        ("Ｎｉｇｈｔ Auditor", "Night Auditor"),  # noqa: RUF001 - full-width letters
    ],
)
def test_a_title_is_the_same_however_it_is_written(one: str, other: str) -> None:
    assert match_key(title=one) == match_key(title=other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Security Officer", "Senior Security Officer"),
        ("Technician I", "Technician II"),
        ("Stocker - Overnight", "Stocker - Day"),
        ("Cashier, Part Time", "Cashier, Full Time"),
        ("Team Member - Unit 694", "Team Member - Unit 695"),
        ("C Developer", "C++ Developer"),
        ("C# Developer", "C++ Developer"),
        ("Security Officer", "Security Officer - Shopping Center"),
        ("Manager, Assistant", "Assistant Manager"),
        ("ハン", "バン"),
        ("हिन्दी शिक्षक", "हन्दा शिक्षक"),
    ],
)
def test_another_title_is_another_job(one: str, other: str) -> None:
    assert match_key(title=one) != match_key(title=other)


def test_a_part_of_a_name_of_an_organization_makes_a_candidate_only() -> None:
    part, whole = (keys(replace(ITEM, organization=name)) for name in ("ACME", "Acme Night Services, Inc."))
    assert part.match == whole.match is not None
    assert (part.organization, whole.organization) == ("acme", "acme night services")


@pytest.mark.parametrize(
    "missing", [{"title": " - "}, {"organization": None}, {"organization": "?!"}, {"city": None, "location": None}]
)
def test_an_item_without_title_organization_or_place_has_no_match_key(missing: dict[str, Any]) -> None:
    assert match_key(**{"region": None, "country": None, **missing}) is None


def test_a_state_is_no_place_for_one_job() -> None:
    assert match_key(city=None, location="IL, US") is None


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"city": "Saint Charles"}, {"city": "St. Charles"}, True),
        ({"city": "Chicago"}, {"city": "CHICAGO", "location": "Chicago, Illinois 60601"}, True),
        ({"city": "Aurora"}, {"city": "Chicago"}, False),
        # The database compares the rest of the place.
        ({"city": "Aurora", "region": "IL"}, {"city": "Aurora", "region": None, "country": None}, True),
        ({"city": None, "region": None, "country": None, "location": "Großraum München"},
         {"city": None, "region": None, "country": None, "location": "GROSSRAUM MUNCHEN"}, True),
        ({"city": None, "region": None, "work_mode": "remote", "location": "Remote"},
         {"city": None, "region": None, "is_remote": True, "location": "Anywhere (US)"}, True),
        ({"city": None, "region": None, "country": None, "work_mode": "remote", "location": "Remote, EMEA"},
         {"city": None, "region": None, "country": None, "work_mode": "remote", "location": "Remote, APAC"}, False),
    ],
)  # fmt: skip
def test_the_key_has_the_city(one: dict[str, Any], other: dict[str, Any], is_same: bool) -> None:
    assert (match_key(**one) == match_key(**other)) is is_same


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "chicago|US-IL|US"),
        ({"region": None}, "chicago|US-IL?|US"),
        ({"region": None, "country": None}, "chicago|US-IL?|US?"),
        ({"city": "Springfield", "region": None}, "springfield|?|US"),
        ({"city": "Zzyzx Corners", "region": None}, "zzyzx corners||US"),
        ({"city": None}, None),
        ({"city": None, "region": None, "work_mode": "remote"}, "remote||US"),
        ({"city": None, "places": (Place("München", "Bavaria", "DE"), Place("Ulm", None, "DE"))}, "munich; ulm||DE"),
    ],
)
def test_what_no_text_names_of_a_place_is_guessed(fields: dict[str, Any], place: str | None) -> None:
    assert keys(replace(ITEM, **fields)).place == place


@given(words, words, words)
def test_case_punctuation_and_space_never_matter(title: str, organization: str, city: str) -> None:
    plain = replace(ITEM, title=title, organization=organization, city=city)
    shown = replace(
        ITEM, title=f"  {title.upper().replace(' ', ' - ')}!", organization=f"{organization.title()}.", city=f" {city},"
    )
    assert keys(plain) == keys(shown)


@given(items)
@example(replace(ITEM, title="x" * 10_000))
@example(replace(ITEM, apply_url="https://a.example/jobs/123456/%00%ff\ud800"))
def test_keys_of_any_item_can_be_stored(item: Item) -> None:
    found = keys(item)
    for key in (found.apply, found.match, found.organization):
        if key is not None:
            assert "\0" not in key
            assert 0 < len(key.encode()) <= 4 * MAX_KEY_LENGTH
    assert keys(item) == found


# --- near-duplicates


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({}, {"description": DESCRIPTION[:120]}),
        ({}, {"description": DESCRIPTION.replace("looking for", "seeking").replace("offer", "provide").upper()}),
        ({"title": "Security Officer - Overnight"}, {"title": "Overnight Security Officer"}),
        ({}, {"title": "Night Auditors (Full-Time)"}),
        ({}, {"title": "Night Auditor - R325463"}),
        ({"title": "Night Auditor $17.00/hour"}, {"title": "Night Auditor, $17 per hour"}),
        ({}, {"title": "Night Auditor at ACME | $500 Sign-On Bonus!"}),
        ({}, {"city": "Chicago", "region": None, "country": None, "location": "Chicago"}),
        ({}, {"city": None, "region": None, "country": None, "location": None}),
    ],
)  # fmt: skip
def test_a_job_in_other_words_is_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert are_with(one, other)
    assert are_with(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"organization": "Beta"}),
        ({"organization": None}, {"organization": None}),
        ({}, {"city": "Houston", "region": "TX"}),
        ({"city": "Aurora", "region": "IL"}, {"city": "Aurora", "region": "CO"}),
        ({"city": None}, {"city": None, "region": "TX"}),
        ({}, {"city": None, "location": "IL, US"}),
        ({"work_mode": "remote"}, {"city": None, "region": None, "location": "United States", "work_mode": "remote"}),
        ({"work_mode": "remote"}, {"work_mode": "onsite"}),
        ({}, {"title": "Senior Night Auditor"}),
        (
            {"organization": "Acme Senior Care", "title": "Senior Caregiver"},
            {"organization": "Acme Senior Care", "title": "Caregiver"},
        ),
        ({"title": "Caregiver for Seniors"}, {"title": "Senior Caregiver for Seniors"}),
        ({"title": "Night Auditor II"}, {"title": "Night Auditor III"}),
        ({}, {"title": "Day Auditor"}),
        ({}, {"title": "Night Auditor - Airport"}),
        ({"title": "Night Auditor, Part Time"}, {"title": "Night Auditor, Full Time"}),
        ({"title": "Night Auditor - Store 512"}, {"title": "Night Auditor - Store 513"}),
        ({"title": "Night Auditor - R325463"}, {"title": "Night Auditor - R325464"}),
        ({"title": "Night Auditor $17.00/hour"}, {"title": "Night Auditor $17.50/hour"}),
        ({"title": "Senior"}, {"title": "Wanted"}),
        ({}, {"description": "Fly planes across the Atlantic. A licence is asked for; rest is in hotels by the sea."}),
        ({}, {"description": None}),
    ],
)
def test_a_different_job_of_the_same_template_is_no_duplicate(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not are_with(one, other)
    assert not are_with(other, one)


@given(items, items)
def test_the_comparison_is_symmetric(a: Item, b: Item) -> None:
    assert are_duplicates(a, b) == are_duplicates(b, a)


@given(items)
def test_an_item_with_organization_and_text_is_a_duplicate_of_itself(item: Item) -> None:
    item = replace(item, organization="Acme", description=DESCRIPTION)
    assert are_duplicates(item, item)
