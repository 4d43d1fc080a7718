"""From the form to the end of a run."""

from __future__ import annotations

import re
from itertools import pairwise

import psycopg
from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.device import Device
from tests.browser.people import Person, new_term
from tests.support.boards import PlayedSites
from worker.local.supabase.stack import Endpoints

# Notes what the progress bar and the number of results show, each time that one of them changes.
RECORDER = """
window.recorded = { shares: [], found: [] }
const note = (values, value) => value !== undefined && values.at(-1) !== value && values.push(value)
new MutationObserver(() => {
    if (!location.pathname.startsWith('/runs/')) return
    const bar = document.querySelector('[role=progressbar]')
    const found = /Results \\((\\d+)\\)/.exec(document.body.innerText)
    if (bar) note(recorded.shares, Number(bar.getAttribute('aria-valuenow')))
    if (found) note(recorded.found, Number(found[1]))
}).observe(document, { subtree: true, childList: true, characterData: true, attributes: true })
"""


def test_the_databases_message_is_shown_at_the_field_and_what_was_typed_stays(device: Device) -> None:
    device.expects("/rpc/enqueue_search 400", r"status of 400 .*/rpc/enqueue_search")
    page = device.page
    pages.visit(page, "/")
    page.get_by_label("Search term").fill("engineer")
    country = page.get_by_label("Country", exact=True)
    country.fill("D")
    page.get_by_role("checkbox", name="Indeed").uncheck()
    page.get_by_role("button", name="Search", exact=True).click()
    expect(country).to_have_attribute("aria-invalid", "true")
    expect(country).to_have_accessible_description(re.compile("^parameters.country must be .*2 to 40"))
    expect(page.get_by_label("Search term")).to_have_value("engineer")
    expect(country).to_have_value("D")
    expect(page.get_by_role("checkbox", name="LinkedIn")).to_be_checked()
    expect(page.get_by_role("checkbox", name="Indeed")).not_to_be_checked()

    country.fill("Germany")
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**/runs/*")


def test_a_site_that_is_paused_says_until_when(device: Device, stack: Endpoints) -> None:
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute(
            "insert into worker.site_health (site, paused_until) values ('glassdoor', worker.now() + interval '1 hour')"
        )
    pages.visit(device.page, "/")
    expect(device.page.get_by_role("checkbox", name="Glassdoor paused until").first).to_be_enabled()


def test_sites_are_called_by_their_labels(device: Device, ada: Person) -> None:
    page, term = device.page, new_term()
    run_id = ada.enqueue(term, sites=["zip_recruiter"])
    ada.finished(run_id)
    ada.save("By label", term, sites=["zip_recruiter"])
    for path in ("/", "/runs", f"/runs/{run_id}"):
        pages.visit(page, path)
        expect(page.get_by_role("listitem").filter(has_text="ZipRecruiter").first).to_be_visible()
        assert "zip_recruiter" not in page.get_by_role("main").inner_text()
    expect(pages.results(page).first.get_by_role("link", name="ZipRecruiter").last).to_be_visible()
    page.get_by_label("Site", exact=True).select_option("ZipRecruiter")
    expect(page).to_have_url(re.compile("site=zip_recruiter"))


def test_a_run_is_shown_live_until_it_ends(device: Device, sites: PlayedSites) -> None:
    page = device.page
    page.add_init_script(RECORDER)
    pages.visit(page, "/")
    term = new_term()
    pages.search(page, term, Results_wanted="60")
    expect(page.get_by_role("heading", level=1)).to_have_text(term)
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        expect(page.get_by_role("heading", name="Meanwhile")).to_be_visible()
        expect(pages.status(page)).to_have_text("running")
        expect(pages.progress(page)).to_contain_text(re.compile(r"fetched \d+ of 120 \(\d+ %\)"))
    pages.ended(page)
    expect(pages.progress(page)).not_to_contain_text("fetched")
    expect(pages.progress(page)).to_contain_text(re.compile(r"\d+ found"))
    expect(pages.results(page)).to_have_count(50)

    recorded = page.evaluate("recorded")
    assert recorded["shares"][-1] == 100
    assert any(0 < share < 100 for share in recorded["shares"])
    assert all(before < after for before, after in pairwise(recorded["shares"])), recorded
    # Rows came while the run was running, and none of them went away.
    assert len([found for found in recorded["found"] if found]) > 1
    assert all(before < after for before, after in pairwise(recorded["found"])), recorded


def test_a_run_is_cancelled_and_keeps_what_it_has_found(device: Device, sites: PlayedSites) -> None:
    page = device.page
    pages.visit(page, "/")
    pages.search(page, new_term(), Results_wanted="200")
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        page.get_by_role("button", name="Cancel").click()
        pages.ended(page, "cancelled")
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        found = pages.results(page).count()
        assert 0 < pages.share(page) < 100
        page.reload()
        pages.ready(page)
        expect(pages.status(page)).to_have_text("cancelled")
        assert pages.results(page).count() >= found > 0


def test_a_run_is_searched_again_as_a_run_of_its_own(device: Device, ada: Person) -> None:
    page = device.page
    first = ada.enqueue(new_term())
    ada.finished(first)
    pages.visit(page, f"/runs/{first}")
    page.get_by_role("button", name="Search again").click()
    page.wait_for_url(lambda url: "/runs/" in url and not url.endswith(first))
    pages.ended(page)
    expect(pages.progress(page)).to_contain_text("0 new")
