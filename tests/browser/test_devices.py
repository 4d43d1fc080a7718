"""A search belongs to its user, not to a tab: Release 3 of the plan, and what other users see of it."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.conftest import NewDevice
from tests.browser.device import Device
from tests.browser.people import Person, new_term
from tests.support.boards import PlayedSites


def seconds(page: Page) -> int:
    """How long the run has taken, as the page says it."""
    text = pages.progress(page).inner_text()
    found = re.search(r"(?:(\d+) min )?(\d+) s\b", text)
    assert found, text
    return 60 * int(found[1] or 0) + int(found[2])


def test_a_tab_that_is_closed_in_mid_search_is_opened_again(device: Device, sites: PlayedSites) -> None:
    page, term = device.page, new_term()
    pages.visit(page, "/")
    path = pages.search(page, term, Results_wanted="60")
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        taken, share = seconds(page), pages.share(page)
        page = device.reopen()
        pages.visit(page, "/")
        pages.entry(page, term).get_by_role("link").click()
        page.wait_for_url(f"**{path}")
        expect(page.get_by_role("heading", name="Meanwhile")).to_be_visible()
        expect(pages.results(page)).not_to_have_count(0)
        expect(pages.progress(page)).to_contain_text(re.compile(r"\d s\b"))
        assert seconds(page) >= taken
        assert pages.share(page) >= share
    pages.ended(page)
    expect(pages.results(page)).to_have_count(50)


def test_a_search_from_the_phone_is_followed_on_the_desktop(
    new_device: NewDevice, ada: Person, sites: PlayedSites
) -> None:
    phone, term = new_device(ada, is_phone=True), new_term()
    pages.visit(phone.page, "/")
    path = pages.search(phone.page, term, Results_wanted="60")
    expect(pages.results(phone.page)).not_to_have_count(0)
    with sites.silent():
        taken = seconds(phone.page)
        phone.page.close()
        page = new_device(ada).page
        pages.visit(page, "/")
        pages.entry(page, term).get_by_role("link").click()
        page.wait_for_url(f"**{path}")
        expect(pages.progress(page)).to_contain_text(re.compile(r"\d s\b"))
        assert seconds(page) >= taken
        assert 0 < pages.share(page) < 100
    pages.ended(page)
    expect(pages.results(page)).to_have_count(50)


def test_both_devices_see_the_same_run_move_and_end(new_device: NewDevice, ada: Person) -> None:
    one, other = new_device(ada), new_device(ada, is_phone=True)
    pages.visit(other.page, "/runs")
    expect(other.page.get_by_text("No search was started yet.")).to_be_visible()
    pages.visit(one.page, "/")
    term = new_term()
    pages.search(one.page, term, Results_wanted="40")
    # Without a reload.
    pages.entry(other.page, term).get_by_role("link").click()
    for device in (one, other):
        pages.ended(device.page)
    expect(other.page.get_by_role("heading", name="Results")).to_have_text(
        one.page.get_by_role("heading", name="Results").inner_text()
    )


def test_two_searches_at_once_are_both_found_and_both_end(device: Device, sites: PlayedSites) -> None:
    page, terms = device.page, [new_term(), new_term()]
    with sites.silent():
        for term in terms:
            pages.visit(page, "/")
            pages.search(page, term, Results_wanted="40")
        pages.visit(page, "/")
        for term in terms:
            expect(pages.entry(page, term)).to_be_visible()
    expect(page.get_by_text("No search is running.")).to_be_visible()
    pages.visit(page, "/runs")
    for term in terms:
        expect(pages.entry(page, term)).to_contain_text("success")


def test_a_search_that_fails_while_nobody_looks_is_shown_as_failed(device: Device, sites: PlayedSites) -> None:
    page, term = device.page, new_term()
    sites.fail("linkedin", "blocked")
    sites.fail("indeed", "blocked")
    pages.visit(page, "/")
    with sites.silent():
        path = pages.search(page, term)
        page = device.reopen()
        pages.visit(page, "/")
        expect(pages.entry(page, term)).to_be_visible()
        pages.visit(page, path)
        expect(pages.status(page)).to_have_text(re.compile("pending|running"))
    pages.ended(page, "failed")
    expect(page.get_by_role("listitem").filter(has_text="LinkedIn")).to_contain_text("LinkedIn is not answering")
    expect(page.get_by_text("Nothing was found.")).to_be_visible()

    sites.heal("linkedin")
    sites.heal("indeed")
    pages.visit(page, "/")
    page.get_by_role("checkbox", name="Indeed").uncheck()
    page.get_by_role("checkbox", name="LinkedIn").uncheck()
    page.get_by_role("checkbox", name="ZipRecruiter").check()
    pages.search(page, new_term())
    pages.ended(page)


def test_another_user_sees_nothing_of_it(new_device: NewDevice, ada: Person, grace: Person, sites: PlayedSites) -> None:
    term = new_term()
    run_id = ada.enqueue(term)
    other = new_device(grace)
    with sites.silent():
        pages.visit(other.page, "/")
        expect(other.page.get_by_text("No search is running.")).to_be_visible()
        pages.visit(other.page, "/runs")
        expect(other.page.get_by_text("No search was started yet.")).to_be_visible()
        other.expects(f"/runs/{run_id}.* 404", f"status of 404 .*/runs/{run_id}")
        pages.visit(other.page, f"/runs/{run_id}")
        expect(other.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
        assert term not in other.page.content()


def test_an_equal_search_of_another_user_is_as_live_as_the_first(
    new_device: NewDevice, ada: Person, grace: Person, sites: PlayedSites
) -> None:
    term = new_term()
    leader = ada.enqueue(term, results_wanted=40)
    page = new_device(grace).page
    pages.visit(page, "/")
    path = pages.search(page, term, Results_wanted="40")
    assert path != f"/runs/{leader}"
    expect(pages.progress(page)).to_contain_text("shared with an equal search")
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        expect(page.get_by_role("heading", name="Meanwhile")).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="LinkedIn").first).to_contain_text("found")
        assert pages.share(page) < 100
    pages.ended(page)
    expect(pages.progress(page)).to_contain_text("shared with an equal search")
    expect(pages.progress(page)).not_to_contain_text("fetched")

    # What has just ended answers an equal search at once.
    pages.visit(page, "/")
    pages.search(page, term, Results_wanted="40")
    pages.ended(page)
    expect(pages.results(page)).not_to_have_count(0)
