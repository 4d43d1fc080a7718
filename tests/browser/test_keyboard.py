"""With the keyboard alone."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser import pages
from tests.browser.conftest import NewDevice
from tests.browser.people import Person, new_term
from tests.browser.test_history import answer
from tests.support.stack import PASSWORD

MAX_TABS = 60


def tab_to(page: Page, target: Locator, *, key: str = "Tab") -> None:
    """Press Tab until this element has the focus, and see that it shows."""
    for _ in range(MAX_TABS):
        page.keyboard.press(key)
        if target.evaluate("element => element === document.activeElement"):
            assert target.evaluate("element => getComputedStyle(element).outlineStyle") != "none"
            return
    raise AssertionError(f"{target} is not reached with {MAX_TABS} times {key}")


def test_a_user_signs_in_searches_and_reads_a_description(new_device: NewDevice, ada: Person) -> None:
    page = new_device().page
    pages.visit(page, "/sign-in")
    tab_to(page, page.get_by_label("E-mail address"))
    page.keyboard.type(ada.email)
    tab_to(page, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("No search is running.")).to_be_visible()

    term = new_term()
    tab_to(page, page.get_by_label("Search term"))
    page.keyboard.type(term)
    tab_to(page, page.get_by_role("checkbox", name="Indeed"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Search", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    expect(page.get_by_role("heading", level=1)).to_have_text(term)
    pages.ended(page)
    expect(page.get_by_role("listitem").filter(has_text="completed")).to_have_count(1)

    details = pages.results(page).first.get_by_role("button")
    tab_to(page, details)
    page.keyboard.press("Enter")
    description = page.get_by_role("region", name="Description")
    expect(description).to_be_visible()
    expect(details).to_have_text(re.compile("Close"))
    # A long description is scrolled by its keys.
    tab_to(page, description)
    tab_to(page, details, key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(description).to_have_count(0)


def test_a_user_schedules_a_search_and_filters_its_results(new_device: NewDevice, ada: Person) -> None:
    page, term = new_device(ada).page, new_term()
    ada.save("Engineers", term)
    pages.visit(page, "/")
    entry = page.get_by_role("listitem").filter(has_text="Engineers")
    tab_to(page, entry.get_by_role("button", name="Schedule", exact=True))
    page.keyboard.press("Enter")
    tab_to(page, entry.get_by_label("Sun"))
    page.keyboard.press("Space")
    tab_to(page, entry.get_by_role("button", name="Save schedule"))
    page.keyboard.press("Enter")
    expect(entry).to_contain_text("Mon, Tue, Wed, Thu, Fri, Sat at 08:00 (Europe/Berlin)")

    tab_to(page, entry.get_by_role("button", name="Run now"), key="Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    pages.ended(page)
    tab_to(page, page.get_by_label("Sort"))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("columnheader", name="Posted")).to_have_attribute("aria-sort", "descending")
    tab_to(page, page.get_by_label("New only"))
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile("sort=posted&new=true"))
    tab_to(page, page.get_by_role("columnheader", name="Pay").get_by_role("button"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Pay")).to_have_attribute("aria-sort", "descending")


def test_a_user_deletes_a_run(new_device: NewDevice, ada: Person) -> None:
    page, term = new_device(ada).page, new_term()
    ada.finished(ada.enqueue(term))
    pages.visit(page, "/runs")
    delete = pages.entry(page, term).get_by_role("button", name="Delete")
    tab_to(page, delete)
    for accept in (False, True):
        asked = answer(page, accept=accept)
        expect(delete).to_be_focused()
        page.keyboard.press("Enter")
        expect(pages.entry(page, term)).to_have_count(0 if accept else 1)
        assert asked == [f"Delete this search and its results: {term}?"]
