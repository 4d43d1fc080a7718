"""Every page on a desktop, on a phone and in the dark: readable for all, no wider than the screen, and still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.appearance import SHIFTS, scrolls_sideways, serious_findings, take_picture
from tests.browser.conftest import NewDevice
from tests.browser.people import Person, new_term, sign_up_admin
from tests.support.boards import PlayedSites
from worker.local.supabase.stack import Endpoints

MAX_SHIFT = 0.1
"""Above, people notice it: https://web.dev/articles/cls."""

MIN_TITLE_WIDTH = 200

LOOKS = {
    "desktop": {},
    "phone": {"is_phone": True},
    "dark": {"is_dark": True},
    "phone-dark": {"is_phone": True, "is_dark": True},
}


@dataclass(frozen=True)
class Scene:
    """An admin with everything that a page can show.

    Attributes:
        person: The user.
        run_id: A run that has ended, with results.
        failed_id: A run of which a site has failed.
    """

    person: Person
    run_id: str
    failed_id: str


@pytest.fixture(scope="module")
def scene(shared_stack: Endpoints, played: PlayedSites) -> Scene:
    person = sign_up_admin(shared_stack)
    run_id = person.enqueue("data engineer", results_wanted=40)
    played.fail("glassdoor", "blocked")
    failed_id = person.enqueue("manager", sites=["indeed", "glassdoor"])
    assert person.finished(run_id) == "success"
    assert person.finished(failed_id) == "partial"
    played.heal_all()
    saved = person.save("Every morning", "data engineer")
    person.schedule(saved, ["08:00", "16:45"])
    person.save("Managers", "manager")
    return Scene(person, run_id, failed_id)


def form(page: Page, _: Scene) -> None:
    pages.visit(page, "/")
    page.get_by_text("More", exact=True).click()


def saved(page: Page, _: Scene) -> None:
    pages.visit(page, "/")
    entry = page.get_by_role("listitem").filter(has_text="Every morning")
    entry.get_by_role("button", name="Schedule", exact=True).click()
    expect(entry.get_by_label("Times of day")).to_be_visible()


def run(page: Page, scene: Scene) -> None:
    pages.visit(page, f"/runs/{scene.run_id}")
    pages.results(page).first.get_by_role("button").click()
    expect(page.get_by_role("region", name="Description").get_by_role("paragraph").first).to_be_visible()
    # Also on a phone, a title is not one word below the other.
    title = pages.results(page).first.get_by_role("cell").first.bounding_box()
    assert title is not None
    assert title["width"] > MIN_TITLE_WIDTH


def failed(page: Page, scene: Scene) -> None:
    pages.visit(page, f"/runs/{scene.failed_id}?sort=pay&words=none+has+this")
    expect(page.get_by_text("Nothing matches the filters.")).to_be_visible()


def history(page: Page, _: Scene) -> None:
    pages.visit(page, "/runs")
    expect(page.get_by_role("listitem")).not_to_have_count(0)


def missing(page: Page, _: Scene) -> None:
    pages.visit(page, "/runs/nothing")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def admin(page: Page, _: Scene) -> None:
    pages.visit(page, "/admin")
    page.get_by_text("manager").first.click()
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()


PAGES: dict[str, Callable[[Page, Scene], None]] = {
    "form": form,
    "saved": saved,
    "run": run,
    "run-partial": failed,
    "history": history,
    "not-found": missing,
    "admin": admin,
}


def looks_good(page: Page, name: str) -> None:
    """Take a picture of a page and check what can be checked without looking at it."""
    take_picture(page, name)
    assert scrolls_sideways(page) == []
    assert serious_findings(page) == []


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable(new_device: NewDevice, scene: Scene, look: str, name: str) -> None:
    device = new_device(scene.person, **LOOKS[look])
    device.expects("/runs/nothing.* 404", "status of 404 .*/runs/nothing")
    PAGES[name](device.page, scene)
    looks_good(device.page, f"{name}-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_where_one_signs_in_is_readable(new_device: NewDevice, look: str) -> None:
    device = new_device(None, **LOOKS[look])
    device.expects("/auth/v1/token.* 400", "status of 400 .*/auth/v1/token")
    page = device.page
    pages.visit(page, "/sign-in")
    page.get_by_label("E-mail address").fill("someone@example.com")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(pages.problem(page)).to_be_visible()
    looks_good(page, f"sign-in-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_of_a_new_user_say_what_to_do(new_device: NewDevice, ada: Person, look: str) -> None:
    page = new_device(ada, **LOOKS[look]).page
    pages.visit(page, "/")
    expect(page.get_by_text("No search is saved.")).to_be_visible()
    looks_good(page, f"form-empty-{look}")
    pages.visit(page, "/runs")
    expect(page.get_by_text("No search was started yet.")).to_be_visible()
    looks_good(page, f"history-empty-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_a_run_is_readable_and_does_not_jump_while_rows_come(
    new_device: NewDevice, ada: Person, sites: PlayedSites, look: str
) -> None:
    page = new_device(ada, **LOOKS[look]).page
    page.add_init_script(SHIFTS)
    run_id = ada.enqueue(new_term(), results_wanted=40)
    pages.visit(page, f"/runs/{run_id}")
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        looks_good(page, f"run-live-{look}")
    pages.ended(page)
    expect(pages.results(page)).to_have_count(50)
    shifts = page.evaluate("shifts")
    assert sum(shift["value"] for shift in shifts) < MAX_SHIFT, shifts
