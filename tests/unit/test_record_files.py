"""Files with records of a site: what each format gives, and what is said of a file that cannot be read."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from io import BytesIO, StringIO
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobspy.model import JobPost

from tests.support.hostile import hostile, json_values
from worker.engine.read import transform
from worker.engine.record_files import (
    FoundItem,
    UnknownBoardOfFileError,
    UnreadableFileError,
    batches,
    items_in,
    records_in,
    values_in,
)
from worker.errors import InvalidItemError
from worker.model import ItemError, Organization, Page
from worker.sources import Source
from worker.sources.arbeitnow import ArbeitnowSource
from worker.sources.ashby import AshbySource
from worker.sources.greenhouse import GreenhouseSource
from worker.sources.jobspy import JobSpySource
from worker.sources.jobspy_rows import LIST_COLUMNS, NUMBER_COLUMNS, typed
from worker.sources.jsearch import JSearchSettings, JSearchSource
from worker.sources.lever import LeverSource
from worker.sources.registry import BUILTIN_SOURCES, instances
from worker.sources.remotive import RemotiveSource
from worker.sources.unipile import UnipileSource
from worker.sources.youtube import YouTubeSource

JOBSPY, LEVER = JobSpySource(), LeverSource()
ROW = {"id": "in-1", "site": "indeed", "title": "Welder", "job_url": "https://www.indeed.com/viewjob?jk=1"}
GREENHOUSE_JOB = {"id": 7, "title": "Welder", "absolute_url": "https://job-boards.greenhouse.io/acme/jobs/7"}
OWN_SITE = {"absolute_url": "https://acme.example/careers?gh_jid=7"}
ASHBY_JOB = {"id": "7", "title": "Welder", "jobUrl": "https://jobs.ashbyhq.com/acme%20labs/7"}
LEVER_JOB = {"id": "7", "text": "Welder", "hostedUrl": "https://jobs.eu.lever.co/acme/7"}
JSEARCH_JOB = {"job_id": "7", "job_title": "Welder", "job_apply_link": "https://jobs.example/7"}
ARBEITNOW_JOB = {"slug": "7", "title": "Welder", "url": "https://www.arbeitnow.com/jobs/7"}
REMOTIVE_JOB = {"id": 7, "title": "Welder", "url": "https://remotive.com/7"}
PERSON = {"type": "PEOPLE", "id": "7", "name": "Welder"}
CHANNEL = {"kind": "youtube#channel", "id": "7", "snippet": {"title": "Welder"}}
KEPT_CHANNELS = {"asked": {}, "asked_at": "2026-11-01T00:00:00Z", "search": {}, "channels": {"items": [CHANNEL]}}


def found(source: Source, data: bytes | str, **origin: Any) -> list[FoundItem | ItemError]:
    return [*items_in(source, BytesIO(data.encode() if isinstance(data, str) else data), **origin)]


def told(source: Source, data: bytes | str, **origin: Any) -> list[tuple[str, str] | tuple[int | None, str | None]]:
    """The site and the external id of each item, and the index and the field of each error."""
    return [
        (one.site, one.item.external_id) if isinstance(one, FoundItem) else (one.index, one.field)
        for one in found(source, data, **origin)
    ]


def lines(*values: Any) -> str:
    return "\n".join(json.dumps(value) for value in values)


def table(*rows: dict[str, Any], **options: Any) -> str:
    written = StringIO()
    writer = csv.DictWriter(written, rows[0], **options)
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


# What each source reads -----------------------------------------------------------------------------------------------

CONTENTS = [
    (JOBSPY, ROW, ("indeed", "in-1")),
    (JOBSPY, {"rows": [ROW], "warnings": []}, ("indeed", "in-1")),
    (GreenhouseSource(), {"jobs": [GREENHOUSE_JOB], "meta": {"total": 1}}, ("greenhouse", "acme/7")),
    (GreenhouseSource(), {"board": "beta", "jobs": [GREENHOUSE_JOB]}, ("greenhouse", "beta/7")),
    (GreenhouseSource(), GREENHOUSE_JOB, ("greenhouse", "acme/7")),
    (
        AshbySource(),
        {"jobs": [ASHBY_JOB, ASHBY_JOB | {"isListed": False}], "apiVersion": "1"},
        ("ashby", "acme labs/7"),
    ),
    (LEVER, LEVER_JOB, ("lever", "acme/7")),
    (JSearchSource(JSearchSettings()), {"status": "OK", "data": [JSEARCH_JOB]}, ("jsearch", "7")),
    (JSearchSource(JSearchSettings()), {"status": "OK", "data": {"jobs": [JSEARCH_JOB]}}, ("jsearch", "7")),
    (ArbeitnowSource(), {"data": [ARBEITNOW_JOB], "links": {}, "meta": {}}, ("arbeitnow", "7")),
    (RemotiveSource(), {"job-count": 1, "jobs": [REMOTIVE_JOB]}, ("remotive", "7")),
    (UnipileSource(), {"items": [PERSON, {"type": "COMPANY"}], "cursor": None}, ("unipile", "7")),
    (YouTubeSource(), {"kind": "youtube#channelListResponse", "items": [CHANNEL]}, ("youtube", "7")),
    (YouTubeSource(), KEPT_CHANNELS, ("youtube", "7")),
    (YouTubeSource(), CHANNEL, ("youtube", "7")),
]


@pytest.mark.parametrize(("source", "content", "item"), CONTENTS, ids=lambda value: getattr(value, "name", ""))
def test_records_answers_and_kept_pages_are_read_in_each_form(source: Source, content: Any, item: Any) -> None:
    assert told(source, json.dumps(content)) == [item]
    assert told(source, json.dumps(content, indent=1)) == [item]
    assert told(source, json.dumps([content, content])) == [item, item]
    assert told(source, lines(content, content) + "\n\n") == [item, item]
    records = content.get("jobs", content) if isinstance(content, dict) else content
    if isinstance(records, list) and "board" not in content:
        assert told(source, json.dumps(records))[0] == item


def test_every_built_in_source_is_among_them() -> None:
    assert {source.name for source, _, _ in CONTENTS} == {source.name for source in BUILTIN_SOURCES}


def test_the_board_is_the_files_own_then_the_argument_then_that_of_the_addresses() -> None:
    source = GreenhouseSource()
    answer = {"jobs": [GREENHOUSE_JOB]}
    assert told(source, json.dumps(answer), board="other") == [("greenhouse", "other/7")]
    assert told(source, json.dumps({"board": "beta"} | answer), board="other") == [("greenhouse", "beta/7")]
    assert (
        told(source, json.dumps({"jobs": [GREENHOUSE_JOB | OWN_SITE, GREENHOUSE_JOB]}))
        == [("greenhouse", "acme/7")] * 2
    )
    assert told(source, json.dumps({"jobs": []})) == []
    with pytest.raises(UnknownBoardOfFileError, match="neither the content nor the addresses of its jobs name"):
        told(source, json.dumps({"jobs": [GREENHOUSE_JOB | OWN_SITE]}))
    assert told(source, lines(GREENHOUSE_JOB, GREENHOUSE_JOB | OWN_SITE)) == [("greenhouse", "acme/7"), (1, "board")]


def test_jobs_of_several_boards_keep_their_boards() -> None:
    other = LEVER_JOB | {"hostedUrl": "https://jobs.lever.co/initech/7"}
    assert told(LEVER, json.dumps([LEVER_JOB, other])) == [("lever", "acme/7"), ("lever", "initech/7")]


def test_a_source_with_several_sites_needs_to_know_which() -> None:
    linkedin, unknown = ROW | {"id": "li-2", "site": "LinkedIn"}, ROW | {"site": "google"}
    nameless = {name: value for name, value in ROW.items() if name != "site"}
    data = lines(ROW, linkedin, unknown, nameless, ROW)
    assert told(JOBSPY, data) == [
        ("indeed", "in-1"),
        ("linkedin", "li-2"),
        (2, "site"),
        (3, "site"),
        ("indeed", "in-1"),
    ]
    assert told(JOBSPY, data, site="indeed") == [
        ("indeed", "in-1"), (1, "site"), (2, "site"), ("indeed", "in-1"), ("indeed", "in-1"),
    ]  # fmt: skip
    (_, error) = found(JOBSPY, lines(ROW, unknown))
    assert isinstance(error, ItemError)
    assert error.message.startswith("'google' is not one of linkedin, indeed, ")


def test_a_row_of_a_page_is_read_as_a_row_of_a_file_is() -> None:
    row: dict[str, Any] = ROW | {
        "job_type": ["fulltime"],
        "min_amount": 12.5,
        "is_remote": True,
        "date_posted": "2026-11-20",
    }
    page = Page(1, {"rows": [row]}, 0)
    [item] = found(JOBSPY, json.dumps(row))
    assert isinstance(item, FoundItem)
    assert item.item == transform(JOBSPY, "indeed", page).items[0]


# CSV ------------------------------------------------------------------------------------------------------------------

FULL_ROW: dict[str, Any] = ROW | {
    "company": "Acme", "location": "Pleasant Prairie, WI, US", "job_type": "fulltime, parttime",
    "date_posted": "2026-11-20", "interval": "hourly", "min_amount": 29.0, "max_amount": 36.5, "currency": "USD",
    "is_remote": False, "description": 'Weld "it"\nand R\\&D,\nthen rest', "emails": "", "company_rating": float("nan"),
    "company_reviews_count": 12.0, "skills": None,
}  # fmt: skip


def the_item(data: bytes | str) -> Any:
    [one] = found(JOBSPY, data)
    assert isinstance(one, FoundItem), one
    return one.item


@pytest.mark.parametrize(
    "write",
    [
        lambda frame: frame.to_csv(index=False),
        lambda frame: frame.to_csv(),
        lambda frame: frame.to_csv(index=False, na_rep="NaN", lineterminator="\r\n"),
        # As JobSpy's documentation shows.
        lambda frame: frame.to_csv(quoting=csv.QUOTE_NONNUMERIC, escapechar="\\", index=False),
        lambda frame: frame.to_csv(index=False, sep=";"),
        lambda frame: frame.to_csv(index=False, sep="\t"),
        lambda frame: "\ufeff" + frame.to_csv(index=False),
        lambda frame: frame.to_csv(index=False).encode("utf-16"),
        lambda frame: frame.to_json(orient="records"),
        lambda frame: frame.to_json(orient="records", lines=True),
        lambda frame: frame.assign(date_posted=pd.to_datetime(frame.date_posted)).to_json(
            orient="records", date_unit="ms", date_format="epoch"
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*epoch.*")
def test_a_table_of_jobspy_is_read_however_pandas_wrote_it(write: Any) -> None:
    item = the_item(write(pd.DataFrame([FULL_ROW])))
    assert (item.external_id, item.organization, item.posted_at) == ("in-1", "Acme", "2026-11-20")
    assert (item.salary_min, item.salary_max, item.salary_interval) == (29.0, 36.5, "hourly")
    assert (item.job_types, item.is_remote, item.region) == (("fulltime", "parttime"), False, "WI")
    assert item.description == 'Weld "it"\nand R\\&D,\nthen rest'
    assert (item.data, item.employer) == ({}, Organization(review_count=12))


def test_the_types_of_columns_are_those_of_jobspy() -> None:
    kinds = {name: str(column.annotation) for name, column in JobPost.model_fields.items()}
    assert {name for name, kind in kinds.items() if "list[" in kind} == LIST_COLUMNS
    assert {name for name, kind in kinds.items() if "float" in kind or "int |" in kind} == NUMBER_COLUMNS
    assert {name for name, kind in kinds.items() if "bool" in kind} == {"is_remote"}


@pytest.mark.parametrize("value", ["True", "true", "1", "1.0", 1, True])
def test_a_flag_is_read_however_it_is_written(value: Any) -> None:
    assert typed({"is_remote": value}) == {"is_remote": True}
    assert typed({"is_remote": "perhaps"}) == {"is_remote": None}


def test_a_row_with_another_number_of_cells_is_an_error() -> None:
    data = table(ROW) + "in-2,indeed\n" + "\n" + ",".join(["in-3", "indeed", "Welder", "https://a.example/", "more"])
    assert told(JOBSPY, data) == [("indeed", "in-1"), (1, None), (2, None)]
    errors = [one.message for one in found(JOBSPY, data) if isinstance(one, ItemError)]
    assert errors == ["has 2 cells, while the header has 4", "has 5 cells, while the header has 4"]


def test_rows_are_read_one_after_another() -> None:
    class Endless(BytesIO):
        """A file without an end."""

        count = 0

        def readline(self, _: int | None = -1, /) -> bytes:
            self.count += 1
            return (
                f"{self.count},indeed,Welder,https://a.example/\n".encode()
                if self.count > 1
                else b"id,site,title,job_url\n"
            )

    file = Endless()
    some = items_in(JOBSPY, file)
    assert [isinstance(next(some), FoundItem) for _ in range(150)] == [True] * 150
    assert file.count <= 202


# What cannot be read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b" \r\n\n\xef\xbb\xbf", "is empty"),
        (b"\x1f\x8b\x08\x00\x00\n\xff", "is neither JSON nor CSV in UTF-8: line 1: "),
        ("Verkäufer,b\n".encode("latin-1"), "is neither JSON nor CSV in UTF-8: line 1: "),
        ("a,b\n1,Verkäufer".encode("latin-1"), "is neither JSON nor CSV in UTF-8: line 2: "),
        (b"hello", "is neither JSON nor CSV with a header"),
        (b'"hello"', "is neither JSON nor CSV with a header"),
        (b"id,title,id\n", "has a header that names a column twice"),
        (b'[{"id": 1},', "is not JSON: "),
        (b"{\n]", "is not JSON: "),
        (b"[" * 300 + b"]" * 300, "is nested deeper than 200 levels"),
        (b"\xff\xfea\x00,", "is not UTF-16: "),
        (b'id,title\n1,"' + b"x" * 10_000_001, "is not CSV: field larger than field limit"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(UnreadableFileError, match=f"^{problem}"):
        found(JOBSPY, data)


def test_a_line_that_is_not_json_is_an_error_of_that_line() -> None:
    assert told(JOBSPY, lines(ROW) + "\n{oops\n" + lines(ROW, 5)) == [
        ("indeed", "in-1"), (1, None), ("indeed", "in-1"), (3, "site"),
    ]  # fmt: skip


def test_errors_have_the_index_of_the_record_in_the_file() -> None:
    rows = [ROW | {"id": f"in-{number}"} for number in range(250)]
    rows[99]["title"] = rows[100]["job_url"] = rows[249]["id"] = ""
    errors = [one for one in told(JOBSPY, json.dumps(rows)) if isinstance(one[0], int)]
    assert errors == [(99, "title"), (100, "job_url"), (249, "id")]


def test_batches_have_one_site_and_a_bounded_size() -> None:
    rows = [ROW | {"site": ("indeed", "linkedin")[number % 3 == 0]} for number in range(450)]
    data = lines(*rows)

    def sizes(*, in_order: bool) -> list[tuple[str, int]]:
        made = batches(records_in(JOBSPY, BytesIO(data.encode())), in_order=in_order)
        return [(batch.site, len(batch.records)) for batch in made if not isinstance(batch, ItemError)]

    assert sizes(in_order=False) == [
        ("indeed", 100), ("linkedin", 100), ("indeed", 100), ("indeed", 100), ("linkedin", 50),
    ]  # fmt: skip
    assert sizes(in_order=True)[:3] == [("linkedin", 1), ("indeed", 2), ("linkedin", 1)]


# Whatever is sent -----------------------------------------------------------------------------------------------------

SOURCES = instances(BUILTIN_SOURCES)
KEYS = st.sampled_from((
    "id", "site", "title", "job_url", "job_type", "is_remote", "date_posted", "min_amount", "rows", "jobs", "job",
    "board", "data", "items", "kind", "asked", "asked_at", "search", "channels", "channel", "absolute_url",
    "hostedUrl", "jobUrl", "text", "imported_records", "Unnamed: 0", "",
))  # fmt: skip
CONTENT = st.recursive(
    json_values | st.sampled_from(("indeed", "youtube#channel", "https://jobs.lever.co/a/1", "nan", 1.5e308, 10**30)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@hostile(300)
@given(source=st.sampled_from(SOURCES), content=CONTENT, indent=st.sampled_from((None, 1)))
def test_any_json_gives_items_and_errors(source: Source, content: Any, indent: int | None) -> None:
    data = json.dumps(content, indent=indent).encode("utf-8", "surrogatepass")
    with suppress(UnreadableFileError):
        for one in items_in(source, BytesIO(data)):
            json.dumps(one.item.data if isinstance(one, FoundItem) else one.raw)


@hostile(300)
@given(
    data=st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            (
                b"id,title",
                b"\n",
                b"\r\n",
                b'"',
                b",",
                b";",
                b"\\",
                b"\xef\xbb\xbf",
                b"\xff\xfe",
                b"{",
                b"[",
                b"]",
                b"}",
                b"\0",
                b"nan",
            )
        )
    ).map(b"".join)
)
def test_any_bytes_give_values_or_a_reason(data: bytes) -> None:
    with suppress(UnreadableFileError):
        for value in values_in(BytesIO(data)):
            assert isinstance(value, InvalidItemError) or json.dumps(value)
