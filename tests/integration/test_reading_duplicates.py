"""Which real listings are one job: cases of `reading-cases.jsonl`, and pairs and triples of several countries."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count, permutations
from pathlib import Path
from typing import Any

import pytest
from supabase import AsyncClient

from tests.support.database import Connection, scalar
from tests.support.queue import Row, claim, enqueue, lease, save_page, start_search
from tests.support.stack import SignIn
from worker.database import codec
from worker.engine.read import transform
from worker.model import FoundPage, Page
from worker.sources.jobspy import JobSpySource

SITES = ["indeed", "linkedin", "glassdoor", "zip_recruiter", "naukri"]

LEDGER = (
    "You keep the ledger of a savings bank with ninety branches. Each morning you match card payments with the "
    "files of the clearing house, find out why eleven of them differ, and write to the branch. Twice a year you "
    "close the books with two colleagues and an auditor who asks good questions. You know double entry from "
    "practice, you have worked with COBOL reports and are not afraid of replacing them. We give you a desk by the "
    "window, thirty days off and a manager who has done this work herself for twelve years."
)
TURBINES = (
    "Forty metres above the sea you open the hub of a wind turbine, change a pitch bearing with a crew of four, "
    "and are back on the ship before the swell rises. In winter you overhaul gearboxes in our hall at the "
    "harbour. You hold a certificate for work at height, you have trained as an electrician or a mechatronics "
    "technician, and you sleep well on ships. Fourteen days at sea are followed by fourteen days at home; flights "
    "and survival training are paid."
)
ABOUT = (
    "Northgate University was founded in 1871 and has 24,000 students on two campuses. Its libraries are open all "
    "night, its hospital treats 80,000 patients a year, and its endowment pays for a third of all places. "
    "Northgate is an equal opportunity employer: all qualified applicants are considered without regard to age, "
    "belief, disability, gender, origin or veteran status. Staff have a pension plan, health and dental "
    "insurance, free tuition for their children, and 25 days of paid leave. Applications are read as they come in "
    "until the position is filled. "
)
MOSSES = (
    "This position is in the herbarium. You mount and photograph mosses of the Andes, extract DNA from specimens "
    "that are older than the university, and keep the catalogue of 120,000 sheets. A degree in botany is needed, "
    "and patience."
)
SLEEP = (
    "This position is in the sleep laboratory. You welcome volunteers at nine in the evening, fix electrodes to "
    "their heads, watch the recordings through the night and score the stages of sleep. Shifts rotate; a nap room "
    "exists."
)
REWORDED_TURBINES = (
    TURBINES.replace("you open the hub of", "you work inside the hub of")
    .replace("and are back on the ship", "and return to the ship")
    .replace("you have trained as", "you are")
    .replace("In winter you overhaul", "During the winter months you repair")
)

numbers = count(1)


def job(site: str = "indeed", text: str | None = None, **columns: Any) -> Row:
    """A row of JobSpy: by default one of the same title, company, place and day."""
    number = next(numbers)
    urls = {
        "indeed": f"https://www.indeed.com/viewjob?jk={number:016x}",
        "linkedin": f"https://www.linkedin.com/jobs/view/{4_100_000_000 + number}",
        "glassdoor": f"https://www.glassdoor.com/job-listing/j?jl={1_009_000_000_000 + number}",
        "zip_recruiter": f"https://www.ziprecruiter.com/jobs//j?lvk={number}",
        "naukri": f"https://www.naukri.com/job-listings-{number}",
    }
    row: Row = {
        "id": f"{site[:2]}-{number}",
        "site": site,
        "title": "Research Technician",
        "company": "Northgate University",
        "location": "Ithaca, NY, US",
        "job_url": urls[site],
        "date_posted": "2026-11-20",
        "is_remote": False,
    }
    return row | ({"description": text} if text else {}) | columns


def hourly(least: float, most: float | None = None, currency: str = "USD") -> Row:
    return {"min_amount": least, "max_amount": most or least, "interval": "hourly", "currency": currency}


def yearly(least: float, most: float | None = None, currency: str = "USD") -> Row:
    return {"min_amount": least, "max_amount": most or least, "interval": "yearly", "currency": currency}


def at(address: str) -> Row:
    return {"job_url_direct": address}


@dataclass(frozen=True)
class Case:
    name: str
    rows: Sequence[Row]
    groups: int

    def __str__(self) -> str:
        return self.name


GIVEN = [
    Case(case["note"], case["input"], case["expected"]["groups"])
    for line in (Path(__file__).parents[1] / "unit" / "data" / "reading-cases.jsonl").read_text("utf-8").splitlines()
    if (case := json.loads(line))["kind"] == "duplicates"
]

TEXTS = [
    Case("no texts", [job(), job("linkedin")], 1),
    Case("the same text", [job("indeed", LEDGER), job("linkedin", LEDGER)], 1),
    Case("one text", [job("indeed", LEDGER), job("linkedin")], 1),
    Case("two texts", [job("indeed", LEDGER), job("linkedin", TURBINES)], 2),
    Case("two texts on one site", [job("indeed", LEDGER), job("indeed", TURBINES)], 2),
    Case("as HTML", [job("indeed", LEDGER), job("linkedin", f"<p>{LEDGER.replace('. ', '.</p><p>')}</p>")], 1),
    Case("as a list", [job("indeed", LEDGER), job("glassdoor", "* " + LEDGER.replace(". ", ".\n* "))], 1),
    Case("an excerpt", [job("indeed", ABOUT + MOSSES), job("glassdoor", (ABOUT + MOSSES)[:220] + " ...")], 1),
    Case("an excerpt of another text", [job("indeed", LEDGER), job("glassdoor", TURBINES[:400] + " ...")], 2),
    Case("too short to say", [job("indeed", LEDGER), job("glassdoor", "Join our great team today!")], 1),
    Case("reworded by another site", [job("linkedin", TURBINES), job("zip_recruiter", REWORDED_TURBINES)], 1),
    Case("in another order", [job("linkedin", ABOUT + MOSSES), job("indeed", MOSSES + " " + ABOUT)], 1),
    Case("one template on one site", [job("linkedin", ABOUT + MOSSES), job("linkedin", ABOUT + SLEEP)], 2),
    Case("one template, own parts first", [job("indeed", MOSSES + ABOUT), job("indeed", SLEEP + ABOUT)], 2),
    Case("the same text twice on one site", [job("indeed", ABOUT + SLEEP), job("indeed", ABOUT + SLEEP)], 1),
    Case("two texts and none", [job("indeed", LEDGER), job("indeed", TURBINES), job("linkedin")], 2),
    Case(
        "two texts, twice",
        [job("indeed", LEDGER), job("linkedin", LEDGER), job("indeed", TURBINES), job("linkedin", TURBINES)],
        2,
    ),
    Case(
        "two of one template, each on two sites",
        [job(site, ABOUT + own) for site in ("indeed", "linkedin") for own in (MOSSES, SLEEP)],
        2,
    ),
]

DATES = [
    Case("a week later", [job(), job("linkedin", date_posted="2026-11-27")], 1),
    Case("three years later", [job(), job("linkedin", date_posted="2023-11-20")], 2),
    Case("three years later, one text", [job("indeed", LEDGER), job("linkedin", date_posted="2023-11-20")], 2),
    Case(
        "published again with the same text",
        [job("indeed", LEDGER, date_posted="2026-06-02"), job("indeed", LEDGER)],
        1,
    ),
    Case(
        "years later with the same text",
        [job("linkedin", TURBINES, date_posted="2024-06-02"), job("indeed", TURBINES)],
        1,
    ),
    Case(
        "years later with another text",
        [job("linkedin", TURBINES, date_posted="2024-06-02"), job("indeed", LEDGER)],
        2,
    ),
    Case("no dates", [job(date_posted=None), job("linkedin", date_posted=None)], 1),
    Case(
        "published every four weeks",
        [job("indeed", date_posted=day) for day in ("2026-06-01", "2026-06-29", "2026-07-27", "2026-08-24")],
        1,
    ),
    Case(
        "two years with texts, and one without text or date",
        [
            job("indeed", LEDGER, date_posted="2023-03-01"),
            job("indeed", TURBINES),
            job("linkedin", date_posted=None),
        ],
        2,
    ),
]

PAY = [
    Case("rounded by the hour", [job("indeed", LEDGER, **hourly(18.35)), job("glassdoor", LEDGER, **hourly(18))], 1),
    Case("rounded up", [job("indeed", **hourly(22.75, 24.75)), job("glassdoor", **hourly(25, 26))], 1),
    Case("rounded by the year", [job("indeed", **yearly(58400)), job("glassdoor", **yearly(58000))], 1),
    Case(
        "rounded euros",
        [job("indeed", **yearly(61250, None, "EUR")), job("glassdoor", **yearly(61000, None, "EUR"))],
        1,
    ),
    Case("overlapping ranges", [job("indeed", **yearly(50000, 60000)), job("glassdoor", **yearly(55000, 70000))], 1),
    Case("pay and none", [job("indeed", **hourly(18)), job("glassdoor")], 1),
    Case("by the hour and by the year", [job("indeed", **hourly(20)), job("glassdoor", **yearly(41600))], 1),
    Case("another currency", [job("indeed", **yearly(50000)), job("glassdoor", **yearly(46000, None, "EUR"))], 1),
    Case("more by the hour", [job("indeed", **hourly(18)), job("glassdoor", **hourly(21))], 2),
    Case("more by 25 cents", [job("indeed", **hourly(18.25)), job("glassdoor", **hourly(18.5))], 2),
    Case("more by the year", [job("indeed", LEDGER, **yearly(50000)), job("indeed", LEDGER, **yearly(64000))], 2),
    Case("a grade above", [job("indeed", **yearly(40000, 48000)), job("linkedin", **yearly(49000, 57000))], 2),
    Case("two pays and none", [job("indeed", **hourly(18)), job("indeed", **hourly(26)), job("linkedin")], 2),
]

BOARD = "https://job-boards.greenhouse.io/northgate/jobs/"

ADDRESSES = [
    Case("one address", [job("indeed", **at(BOARD + "4015550001")), job("linkedin", **at(BOARD + "4015550001"))], 1),
    Case("two addresses", [job("indeed", **at(BOARD + "4015550001")), job("linkedin", **at(BOARD + "4015550002"))], 2),
    Case(
        "one address, two texts",
        [job("indeed", LEDGER, **at(BOARD + "4015550001")), job("linkedin", TURBINES, **at(BOARD + "4015550001"))],
        1,
    ),
    Case(
        "one address, two cities",
        [
            job("indeed", **at(BOARD + "4015550001")),
            job("linkedin", location="Albany, NY, US", **at(BOARD + "4015550001")),
        ],
        1,
    ),
    Case("an address and none", [job("indeed", **at(BOARD + "4015550001")), job("linkedin")], 1),
    Case(
        "two addresses and none",
        [job("indeed", **at(BOARD + "4015550001")), job("indeed", **at(BOARD + "4015550002")), job("linkedin")],
        2,
    ),
    Case(
        "two addresses and two without",
        [
            job("indeed", LEDGER, **at(BOARD + "4015550001")),
            job("indeed", LEDGER, **at(BOARD + "4015550002")),
            job("linkedin", LEDGER),
            job("glassdoor", LEDGER),
        ],
        2,
    ),
]

COMPANIES = [
    Case(f"{one} / {other}", [job("indeed", text, company=one), job("linkedin", other_text, company=other)], groups)
    for one, other, text, other_text, groups in [
        ("Halden Marine AS", "Halden Marine", None, None, 1),
        ("Brückner & Sohn GmbH & Co. KG", "Bruckner & Sohn", None, None, 1),
        ("Lumière Conseil S.A.S.", "LUMIERE CONSEIL", None, None, 1),
        ("Kestrel Foods Pty Ltd", "Kestrel Foods", None, None, 1),
        ("Nadir Tekstil A.Ş.", "Nadir Tekstil", None, None, 1),
        ("Zielona Energia Sp. z o.o.", "Zielona Energia", None, None, 1),
        ("Grupo Ocelote, S.A. de C.V.", "Grupo Ocelote", None, None, 1),
        ("Vidyut Motors Private Limited", "Vidyut Motors Pvt. Ltd.", None, None, 1),
        ("Van Dalen B.V.", "Van Dalen", TURBINES, REWORDED_TURBINES, 1),
        ("Polderbank N.V.", "Polderbank Nederland", LEDGER, LEDGER, 1),
        ("Meridian", "Meridian Wind Services", TURBINES, REWORDED_TURBINES, 1),
        ("Meridian", "Meridian Wind Services", None, None, 2),
        ("Meridian", "Meridian Wind Services", TURBINES, None, 2),
        ("Meridian", "Meridian Credit Union", TURBINES, LEDGER, 2),
        ("Meridian Wind", "Meridian Credit Union", LEDGER, LEDGER, 2),
        ("Mercy Hospital", "Mercy Hospital Foundation", ABOUT + MOSSES, (ABOUT + MOSSES)[:300] + " …", 1),
        ("Sun Pharma", "Sunset Pharma", LEDGER, LEDGER, 2),
    ]
]

# The country of Glassdoor's site is that of a city without one.
HOSTS = {country: f"https://www.glassdoor.{domain}/job-listing/j?jl=1" for country, domain in [
    ("CA", "ca"), ("DE", "de"), ("FR", "fr"), ("GB", "co.uk"), ("NL", "nl"), ("IE", "ie"), ("US", "com"),
]}  # fmt: skip

PLACES = [
    Case(f"{one} / {other}", [job("indeed", text, location=one), job("linkedin", text, location=other)], groups)
    for one, other, text, groups in [
        ("St. Louis, MO, US", "Saint Louis, Missouri, United States", None, 1),
        ("Köln, NW, DE", "Cologne, North Rhine-Westphalia, Germany", None, 1),
        ("Wien, W, AT", "Vienna, Austria", None, 1),
        ("Den Haag, ZH, NL", "The Hague, South Holland, Netherlands", None, 1),
        ("Utrecht, UT, NL", "Utrecht, Utrecht, Netherlands", None, 1),
        ("Lyon, ARA, FR", "Lyon, Auvergne-Rhône-Alpes, France", None, 1),
        ("Bengaluru, KA, IN", "Bangalore, Karnataka, India", None, 1),
        ("Sevilla, AN, ES", "Seville, Andalusia, Spain", None, 1),
        ("Milano, LOM, IT", "Milan, Lombardy, Italy", None, 1),
        ("Genève, GE, CH", "Geneva, Switzerland", None, 1),
        ("Praha, CZ", "Prague, Czechia", None, 1),
        ("Montréal, QC, CA", "Montreal, Quebec, Canada", None, 1),
        ("Cork, CO, IE", "Cork, County Cork, Ireland", None, 1),
        ("Kraków, MA, PL", "Krakow, Małopolskie, Poland", None, 1),
        ("São Paulo, SP, BR", "Sao Paulo, São Paulo, Brazil", None, 1),
        ("Leeds, ENG, GB", "Leeds, England, United Kingdom", None, 1),
        ("Berlin, BE, DE", "Hamburg, HH, DE", TURBINES, 2),
        ("Frankfurt am Main, HE, DE", "Frankfurt (Oder), BB, DE", TURBINES, 2),
        ("Ithaca, NY, US", "Ithaca", TURBINES, 1),
        ("Springfield, IL, US", "Springfield, MA, US", TURBINES, 2),
        ("Springfield, IL, US", "Springfield, MA, US", None, 2),
        ("Springfield, IL, US", "Springfield", None, 2),
        ("Springfield, IL, US", "Springfield", TURBINES, 1),
        ("Dayton, NJ, US", "Dayton", TURBINES, 1),
        ("Dayton, NJ, US", "Dayton", None, 2),
        ("Newcastle, NSW, AU", "Newcastle upon Tyne, ENG, GB", TURBINES, 2),
        ("Albany, NY, US", "Troy, NY, US", TURBINES, 2),
        ("Cambridge, MA, US", "Cambridge, England, United Kingdom", LEDGER, 2),
        ("Ithaca, NY, US", "New York, United States", LEDGER, 2),
        ("Paris, IDF, FR", "Paris, TX, US", None, 2),
        ("København K, 84, DK", "Copenhagen, Capital Region of Denmark, Denmark", None, 1),
        ("Taichung, TXG, TW", "Taichung City, Taiwan", None, 1),
        ("Mobile, AL, US", "Mobile, Alabama, United States", None, 1),
        ("Zürich, ZH, CH", "Zurich, Zurich, Switzerland", None, 1),
        ("Berlin Office, Germany", "Berlin, BE, DE", LEDGER, 1),
        ("Portland, OR, US", "Portland, ME, US", None, 2),
    ]
] + [
    Case(f"{city} on Glassdoor {country} / {whole}", [
        job("glassdoor", location=city, job_url=HOSTS[country]), job("indeed", location=whole),
    ], groups)
    for city, country, whole, groups in [
        ("Kitchener", "CA", "Kitchener, ON, CA", 1),
        ("London", "CA", "London, ON, CA", 1),
        ("London", "CA", "London, ENG, GB", 2),
        ("London", "GB", "London, ENG, GB", 1),
        ("Nantes", "FR", "Nantes, PDL, FR", 1),
        ("Eindhoven", "NL", "Eindhoven, NB, NL", 1),
        ("Galway", "IE", "Galway, G, IE", 1),
        ("München", "DE", "Munich, BY, DE", 1),
        ("Woodstock", "CA", "Woodstock, GA, US", 2),
    ]
]  # fmt: skip

MIXED = [
    Case("two places and a third without a region", [
        job("indeed", LEDGER, location="Springfield, IL, US"),
        job("indeed", LEDGER, location="Springfield, MA, US"),
        job("linkedin", LEDGER, location="Springfield"),
    ], 2),
    Case("another title", [job("indeed", LEDGER), job("linkedin", LEDGER, title="Senior Research Technician")], 2),
    Case("a shift in the title", [
        job("indeed", LEDGER, title="Nurse - Nights"),
        job("linkedin", LEDGER, title="Nurse - Days"),
    ], 2),
    Case("an apart pair and those who follow either", [
        job("indeed", LEDGER, **hourly(18)),
        job("linkedin", LEDGER, **hourly(27)),
        job("glassdoor", LEDGER, **hourly(18.4)),
        job("zip_recruiter", LEDGER, **hourly(27.2)),
    ], 2),
]  # fmt: skip


@pytest.fixture
async def run(sign_in: SignIn, service: AsyncClient, kind: str) -> AsyncIterator[Row]:
    """A claimed run, all of whose sites are being searched."""
    await enqueue(await sign_in(), kind, sites=SITES)
    (run,) = await claim(service, kind)
    for site in SITES:
        await start_search(service, run, site)
    yield run
    # Or a later test's claim would rescue it.
    await service.table("search_runs").delete().eq("kind", kind).execute()


async def save(service: AsyncClient, run: Row, rows: Sequence[Row]) -> None:
    """Save each row as a page, as a worker does that searches the sites in turn."""
    source = JobSpySource()
    for number, row in enumerate(rows, start=1):
        page = Page(number, {"rows": [row]}, response_ms=1)
        found = FoundPage(row["site"], 1, None, source.name, page, transform(source, row["site"], page))
        assert found.transformed.errors == ()
        await save_page(service, **lease(run), **codec.page(found))


async def count_groups(database: Connection, kind: str) -> int:
    counted: int = await scalar(
        database, "select count(distinct coalesce(duplicate_of, id)) from public.items where kind = %s", [kind]
    )
    return counted


@pytest.mark.parametrize("case", [*GIVEN, *TEXTS, *DATES, *PAY, *ADDRESSES, *COMPANIES, *PLACES, *MIXED], ids=str)
async def test_one_job_is_one_group(
    service: AsyncClient, database: Connection, run: Row, kind: str, case: Case
) -> None:
    for order in permutations(case.rows):
        await database.execute("delete from public.items where kind = %s", [kind])
        await database.execute("delete from worker.raw_collections where run_id = %s", [run["run_id"]])
        await save(service, run, order)
        assert await count_groups(database, kind) == case.groups, [row["id"] for row in order]


async def test_of_two_jobs_of_one_template_a_sighting_joins_the_one_with_its_text(
    service: AsyncClient, database: Connection, run: Row, kind: str
) -> None:
    rows = [job(site, ABOUT + own) for site in ("indeed", "linkedin", "glassdoor") for own in (MOSSES, SLEEP)]
    await save(service, run, rows)
    answer = await database.execute(
        """
        select array_agg(distinct right(description, 10))
        from public.items where kind = %s group by coalesce(duplicate_of, id)
        """,
        [kind],
    )
    assert sorted(await answer.fetchall()) == [([MOSSES[-10:]],), ([SLEEP[-10:]],)]


async def test_a_text_that_comes_later_is_compared(
    service: AsyncClient, database: Connection, run: Row, kind: str
) -> None:
    rows = [job("indeed", TURBINES, company="Meridian"), job("linkedin", company="Meridian Wind Services")]
    await save(service, run, rows)
    assert await count_groups(database, kind) == 2
    await save(service, run, [rows[1] | {"description": TURBINES}])
    assert await count_groups(database, kind) == 1


async def test_a_thousand_jobs_with_one_key_are_compared_in_a_moment(
    service: AsyncClient, database: Connection, run: Row, kind: str
) -> None:
    await save(service, run, [job("indeed", LEDGER, **yearly(5_000))])
    await database.execute(
        """
        insert into public.items (
            kind, title, url, canonical_key, match_key, organization_key, place_key, text_signature, salary_min,
            salary_max, salary_interval, currency, first_seen_at, last_seen_at)
        select kind, title, url, 'indeed:' || number, match_key, organization_key, place_key, text_signature,
               number * 10000, number * 10000, 'yearly', 'USD', first_seen_at, last_seen_at
        from public.items, generate_series(1, 1000) as number where kind = %s
        """,
        [kind],
    )
    await database.execute("analyze public.items")
    source = JobSpySource()
    page = Page(9, {"rows": [job("indeed", LEDGER, **yearly(number * 10_000)) for number in range(1, 101)]}, 1)
    found = FoundPage("indeed", 1, None, source.name, page, transform(source, "indeed", page))
    started = time.perf_counter()
    await save_page(service, **lease(run), **codec.page(found))
    assert time.perf_counter() - started < 10
    assert await count_groups(database, kind) == 1001
