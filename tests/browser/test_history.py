"""The runs of a user."""

from __future__ import annotations

from playwright.sync_api import Dialog, Page, expect

from tests.browser import pages
from tests.browser.device import Device
from tests.browser.people import Person, new_term
from tests.support.boards import PlayedSites


def answer(page: Page, *, accept: bool) -> list[str]:
    """Answer the dialogs of a page; return what they ask, as they are opened."""
    asked: list[str] = []

    def answered(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if accept:
            dialog.accept()
        else:
            dialog.dismiss()

    page.once("dialog", answered)
    return asked


def test_the_history_is_filtered_by_status_and_words(device: Device, ada: Person, sites: PlayedSites) -> None:
    page, (one, other) = device.page, (new_term(), f"nurse {new_term()}")
    ada.finished(ada.enqueue(one))
    sites.fail("linkedin", "blocked")
    assert ada.finished(ada.enqueue(other, sites=["linkedin"])) == "failed"
    pages.visit(page, "/runs")
    expect(page.get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("listitem").first).to_contain_text("nurse")
    expect(pages.entry(page, one)).to_contain_text("success")
    expect(pages.entry(page, one)).to_contain_text("took")
    page.get_by_label("Status").select_option("success")
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(pages.entry(page, one)).to_be_visible()
    page.get_by_label("Status").select_option("cancelled")
    expect(page.get_by_text("No run matches.")).to_be_visible()
    page.get_by_label("Status").select_option("")
    page.get_by_label("Words").fill("NURSE")
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(pages.entry(page, other)).to_be_visible()


def test_older_runs_are_shown_when_they_are_asked_for(device: Device, ada: Person) -> None:
    page, term = device.page, new_term()
    ada.finished(ada.enqueue(term))
    # All of them are answered with the first one.
    for _ in range(50):
        ada.enqueue(term)
    pages.visit(page, "/runs")
    expect(page.get_by_role("listitem")).to_have_count(50)
    page.get_by_role("button", name="Show older ones").click()
    expect(page.get_by_role("listitem")).to_have_count(51)
    expect(page.get_by_role("button", name="Show older ones")).to_have_count(0)


def test_a_run_is_deleted_after_a_question(device: Device, ada: Person) -> None:
    page, term = device.page, new_term()
    run_id = ada.enqueue(term)
    ada.finished(run_id)
    pages.visit(page, "/runs")
    asked = answer(page, accept=False)
    pages.entry(page, term).get_by_role("button", name="Delete").click()
    assert asked == [f"Delete this search and its results: {term}?"]
    expect(pages.entry(page, term)).to_be_visible()
    answer(page, accept=True)
    pages.entry(page, term).get_by_role("button", name="Delete").click()
    expect(pages.entry(page, term)).to_have_count(0)
    device.expects(f"/runs/{run_id}.* 404", f"status of 404 .*/runs/{run_id}")
    pages.visit(page, f"/runs/{run_id}")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    pages.visit(page, "/runs")
    expect(page.get_by_text("No search was started yet.")).to_be_visible()


def test_a_run_is_cancelled_and_searched_again_from_the_history(
    device: Device, ada: Person, sites: PlayedSites
) -> None:
    page, term = device.page, new_term()
    with sites.silent():
        ada.enqueue(term)
        pages.visit(page, "/runs")
        expect(pages.entry(page, term).get_by_role("button", name="Delete")).to_have_count(0)
        pages.entry(page, term).get_by_role("button", name="Cancel").click()
        expect(pages.entry(page, term)).to_contain_text("cancelled")
    pages.entry(page, term).get_by_role("button", name="again").click()
    page.wait_for_url("**/runs/*")
    pages.ended(page)
