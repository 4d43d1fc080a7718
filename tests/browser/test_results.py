"""What a run has found: filters, sort, pages, descriptions, CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from playwright.sync_api import Page, expect
from psycopg.rows import dict_row

from tests.browser import pages
from tests.browser.conftest import NewDevice
from tests.browser.people import Person, new_term, sign_up
from worker.local.supabase.stack import Endpoints

HOSTILE = """\
# Good pay

**Bold**, <b>raw HTML</b>, and [a harmless link](https://example.com/apply).

<script>window.attacked = 'script'</script>
<img src="https://attacker.test/pixel.png" onerror="window.attacked = 'image'">
<iframe src="https://attacker.test/frame"></iframe>
<svg onload="window.attacked = 'svg'"></svg>
<style>@import url(https://attacker.test/style.css)</style>

![a picture](https://attacker.test/picture.png)

[click here](javascript:window.attacked='link')
[or here](data:text/html,<script>window.opener.attacked='data'</script>)
<javascript:window.attacked='autolink'>
"""


@pytest.fixture(scope="module")
def finder(shared_stack: Endpoints) -> Person:
    """A user who has found something."""
    return sign_up(shared_stack)


@pytest.fixture(scope="module")
def found(finder: Person) -> str:
    """A run that has found more than a page of results."""
    run_id = finder.enqueue(new_term(), results_wanted=60)
    assert finder.finished(run_id) == "success"
    return run_id


@pytest.fixture
def page(new_device: NewDevice, finder: Person, found: str) -> Page:
    """The page of that run."""
    device = new_device(finder)
    pages.visit(device.page, f"/runs/{found}")
    expect(pages.results(device.page)).to_have_count(50)
    return device.page


@pytest.fixture
def database(stack: Endpoints) -> Iterator[psycopg.Connection[dict[str, object]]]:
    with psycopg.connect(stack.db_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def asked(page: Page) -> dict[str, str]:
    """What the address asks for."""
    return {name: value for name, (value,) in parse_qs(urlsplit(page.url).query).items()}


def shown(page: Page) -> list[str]:
    """The texts of the rows."""
    return pages.results(page).all_inner_texts()


def total(page: Page) -> int:
    """How many results there are, on all pages."""
    return int(re.findall(r"\d+", page.get_by_role("heading", name="Results").inner_text())[0])


def test_filters_sort_and_page_are_in_the_address_and_survive_a_reload(page: Page) -> None:
    everything = total(page)
    page.get_by_label("New only").check()
    page.get_by_label("Sort").select_option("pay")
    expect(page.get_by_role("columnheader", name="Pay")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
    assert asked(page) == {"new": "true", "sort": "pay", "page": "2"}
    expect(pages.results(page)).to_have_count(everything - 50)
    before = shown(page)

    page.reload()
    pages.ready(page)
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
    expect(page.get_by_label("New only")).to_be_checked()
    expect(page.get_by_label("Sort")).to_have_value("pay")
    assert shown(page) == before

    # Another filter begins at the first page again.
    page.get_by_label("Site", exact=True).select_option("indeed")
    expect(page.get_by_text("Page 2 of 2")).to_have_count(0)
    expect(pages.results(page)).not_to_have_count(0)
    expect(page.get_by_role("heading", name="Results")).not_to_have_text(f"Results ({everything})")
    assert asked(page) == {"new": "true", "sort": "pay", "site": "indeed"}


def test_what_is_chosen_does_not_flicker(page: Page) -> None:
    box = page.get_by_label("New only")
    for is_checked in (True, False):
        assert box.evaluate("box => { box.click(); return box.checked }") is is_checked
    expect(box).not_to_be_checked()
    expect(pages.results(page)).to_have_count(50)


def test_filters_are_kept_by_the_buttons_of_the_browser(page: Page) -> None:
    page.get_by_label("Words").fill("senior")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page).to_have_url(re.compile("words=senior"))
    expect(pages.results(page).filter(has_not_text=re.compile("senior", re.IGNORECASE))).to_have_count(0)
    before = shown(page)
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Words")).to_have_value("senior")
    expect(pages.results(page)).to_have_count(len(before))
    assert shown(page) == before


def test_words_are_searched_in_the_results(page: Page) -> None:
    everything = total(page)
    page.get_by_label("Words").fill("senior")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.get_by_role("heading", name="Results")).not_to_have_text(f"Results ({everything})")
    assert asked(page) == {"words": "senior"}
    assert all("senior" in text.lower() for text in shown(page))
    page.get_by_label("Words").fill("nothing has such a word")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.get_by_text("Nothing matches the filters.")).to_be_visible()


def test_what_an_address_asks_for_besides_is_ignored(page: Page, found: str) -> None:
    pages.visit(page, f"/runs/{found}?page=-3&sort=nonsense&mode=<script>&new=perhaps")
    expect(pages.results(page)).not_to_have_count(0)
    expect(page.get_by_text("Page 1 of 2")).to_be_visible()


def test_only_what_an_earlier_run_has_not_found_is_marked_as_new(new_device: NewDevice, ada: Person) -> None:
    first = ada.enqueue(new_term())
    ada.finished(first)
    page = new_device(ada).page
    pages.visit(page, f"/runs/{first}")
    marks = pages.results(page).get_by_text("new", exact=True)
    expect(pages.results(page)).not_to_have_count(0)
    expect(marks).to_have_count(pages.results(page).count())

    second = ada.call("rerun_search", run_id=first)["id"]
    ada.finished(second)
    pages.visit(page, f"/runs/{second}")
    expect(pages.results(page)).not_to_have_count(0)
    expect(marks).to_have_count(0)
    page.get_by_label("New only").check()
    expect(page.get_by_text("Nothing matches the filters.")).to_be_visible()


def test_a_hostile_description_runs_nothing_and_loads_nothing(
    page: Page, database: psycopg.Connection[dict[str, object]], found: str
) -> None:
    requests: list[str] = []
    page.context.on("request", lambda request: requests.append(request.url))
    title = pages.results(page).first.get_by_role("link").first.inner_text()
    database.execute(
        "update public.items set description = %s "
        "where id in (select item_id from public.search_results where run_id = %s) and title = %s",
        [HOSTILE, found, title],
    )
    pages.results(page).first.get_by_role("button").click()
    description = page.get_by_role("region", name="Description")
    expect(description.get_by_role("heading", name="Good pay")).to_be_visible()
    expect(description.locator("strong")).to_have_text("Bold")
    assert description.locator("script, img, iframe, svg, style, object, embed").count() == 0
    addresses = description.get_by_role("link").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert "https://example.com/apply" in addresses
    assert not [address for address in addresses if re.match("javascript|data", address or "", re.IGNORECASE)]
    for text in ("click here", "or here"):
        description.get_by_text(text).click()
    assert page.evaluate("window.attacked") is None
    assert [url for url in requests if "attacker" in url] == []
    assert len(page.context.pages) == 1


def test_addresses_and_titles_of_sites_are_shown_as_text(
    page: Page, database: psycopg.Connection[dict[str, object]], found: str
) -> None:
    title = pages.results(page).nth(1).get_by_role("link").first.inner_text()
    hostile = "<img src=x onerror=\"window.attacked='title'\">"
    database.execute(
        "update public.items set title = %s, url = 'javascript:window.attacked=1' "
        "where id in (select item_id from public.search_results where run_id = %s) and title = %s",
        [hostile, found, title],
    )
    page.reload()
    pages.ready(page)
    cell = pages.results(page).filter(has_text="<img src=x").first.get_by_role("cell").first
    expect(cell).to_contain_text(hostile)
    expect(cell.get_by_role("link")).to_have_count(0)
    assert page.evaluate("window.attacked") is None


def test_the_csv_has_all_that_the_filters_let_through(page: Page) -> None:
    everything = total(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = read_csv(download.value.path())
    assert len(rows) == everything
    assert list(rows[0])[:3] == ["title", "organization", "location"]
    assert {row["site"] for row in rows} == {"linkedin", "indeed"}
    assert all(row["title"] and row["url"] for row in rows)

    page.get_by_label("Words").fill("senior")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.get_by_role("heading", name="Results")).not_to_have_text(f"Results ({everything})")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert len(read_csv(download.value.path())) == total(page) < everything


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))
