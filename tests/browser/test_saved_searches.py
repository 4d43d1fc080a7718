"""Saved searches and their schedules."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import pages
from tests.browser.device import Device
from tests.browser.people import Person, new_term
from tests.browser.test_history import answer


@pytest.fixture
def page(device: Device) -> Page:
    """The page with the form."""
    pages.visit(device.page, "/")
    return device.page


def save(page: Page, name: str, term: str) -> Locator:
    """Save a search; return its entry."""
    page.get_by_label("Search term").fill(term)
    page.get_by_label("Name of the saved search").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    entry = page.get_by_role("listitem").filter(has_text=name)
    expect(entry).to_be_visible()
    return entry


def schedule(entry: Locator, times: str) -> None:
    """Fill in the form of the schedule, and send it."""
    if entry.get_by_role("button", name="Schedule", exact=True).get_attribute("aria-expanded") == "false":
        entry.get_by_role("button", name="Schedule", exact=True).click()
    entry.get_by_label("Times of day").fill(times)
    entry.get_by_role("button", name="Save schedule").click()


def test_a_search_is_saved_run_and_deleted(page: Page) -> None:
    term = new_term()
    entry = save(page, "Every engineer", term)
    expect(entry).to_contain_text("Not repeated")
    expect(entry).to_contain_text(term)
    entry.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")
    path = pages.path_of(page)
    pages.ended(page)

    page.get_by_role("link", name="Search", exact=True).click()
    expect(entry.get_by_role("link", name="Last run")).to_have_attribute("href", path)
    expect(entry).to_contain_text("success")
    answer(page, accept=True)
    entry.get_by_role("button", name="Delete").click()
    expect(entry).to_have_count(0)
    # Its run stays.
    pages.visit(page, path)
    expect(pages.status(page)).to_have_text("success")


def test_a_name_that_is_used_already_is_said(device: Device, page: Page) -> None:
    device.expects("/saved_searches.* 409", "status of 409 .*/saved_searches")
    save(page, "Engineers", new_term())
    page.get_by_label("Name of the saved search").fill("Engineers")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(pages.problem(page)).to_contain_text("Engineers")


def test_a_schedule_is_made_paused_resumed_and_removed(page: Page) -> None:
    entry = save(page, "Daily", new_term())
    schedule(entry, "16:45, 08:00")
    expect(entry).to_contain_text(re.compile(r"Every day at 08:00, 16:45 \(Europe/Berlin\); next .*, (08:00|16:45)"))
    entry.get_by_role("button", name="Pause").click()
    expect(entry).to_contain_text("Paused")
    page.reload()
    pages.ready(page)
    expect(entry).to_contain_text("Paused")
    entry.get_by_role("button", name="Resume").click()
    expect(entry).to_contain_text("; next ")

    entry.get_by_role("button", name="Schedule", exact=True).click()
    for day in ("Tue", "Thu", "Sat", "Sun"):
        entry.get_by_label(day).uncheck()
    entry.get_by_label("Time zone").select_option("UTC")
    entry.get_by_role("button", name="Save schedule").click()
    expect(entry).to_contain_text("Mon, Wed, Fri at 08:00, 16:45 (UTC); next ")
    entry.get_by_role("button", name="Schedule", exact=True).click()
    expect(entry.get_by_label("Mon")).to_be_checked()
    expect(entry.get_by_label("Tue")).not_to_be_checked()
    entry.get_by_role("button", name="Do not repeat").click()
    expect(entry).to_contain_text("Not repeated")


def test_what_is_new_is_counted_until_it_was_seen(page: Page, ada: Person) -> None:
    saved_id = ada.save("Engineers", new_term())
    ada.finished(ada.call("run_saved_search", saved_search_id=saved_id)["id"])
    pages.visit(page, "/")
    entry = page.get_by_role("listitem").filter(has_text="Engineers")
    expect(entry.get_by_text(re.compile(r"^\d+ new$"))).to_be_visible()
    page.get_by_role("button", name="Mark as seen").click()
    expect(page.get_by_role("button", name="Mark as seen")).to_have_count(0)
    page.reload()
    pages.ready(page)
    expect(entry).to_contain_text("found")
    expect(entry.get_by_text(re.compile(r"^\d+ new$"))).to_have_count(0)


def test_a_wrong_time_shows_what_is_allowed(device: Device, page: Page) -> None:
    device.expects("/search_schedules.* 400", "status of 400 .*/search_schedules")
    entry = save(page, "Never", new_term())
    schedule(entry, "25:00")
    expect(entry.get_by_role("alert")).to_be_visible()
    expect(entry.get_by_role("alert")).to_contain_text(re.compile("time", re.IGNORECASE))
    expect(entry.get_by_label("Times of day")).to_have_value("25:00")
    schedule(entry, "07:30")
    expect(entry).to_contain_text("07:30 (Europe/Berlin); next ")
