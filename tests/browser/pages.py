"""What people see and do on the pages of the frontend."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

# React marks the elements that it has taken over. What is typed into the others, or clicked, is lost.
_TAKEN_OVER = """
() => {
    const main = document.querySelector('main')
    const controls = [...main.querySelectorAll('button, input, select')]
    const isTaken = (element) => Object.keys(element).some((key) => key.startsWith('__reactProps'))
    return !main.innerText.includes('Loading …') && controls.every(isTaken)
}
"""


def visit(page: Page, path: str) -> None:
    """Open an address, and wait until the page can be used."""
    page.goto(path)
    ready(page)


def ready(page: Page) -> None:
    """Wait until the page that was loaded can be used."""
    page.wait_for_function(_TAKEN_OVER)


def search(page: Page, term: str, **parameters: str) -> str:
    """Fill in the form and send it; return the path of the run.

    Args:
        page: The page with the form.
        term: What to search for.
        parameters: Further fields by their labels, with `_` for a space.
    """
    page.get_by_label("Search term").fill(term)
    for label, value in parameters.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)
    page.get_by_role("button", name="Search", exact=True).click()
    page.wait_for_url("**/runs/*")
    return path_of(page)


def path_of(page: Page) -> str:
    """The path of the address, without what follows it."""
    return "/" + page.url.split("/", 3)[3].partition("?")[0]


def status(page: Page) -> Locator:
    """The status of the run, beside its title."""
    return page.locator("h1 + span")


def progress(page: Page) -> Locator:
    """How far the run is, in words."""
    return page.get_by_role("region", name="Progress")


def share(page: Page) -> int:
    """How far the run is, in per cent."""
    (number,) = re.findall(r"\((\d+) %\)", progress(page).inner_text())
    return int(number)


def results(page: Page) -> Locator:
    """The rows of the results, without descriptions."""
    return page.locator("tbody tr:has(td + td)")


def ended(page: Page, how: str = "success") -> None:
    """Wait until the run has ended."""
    expect(status(page)).to_have_text(how)
    expect(page.get_by_text("Meanwhile")).to_have_count(0)


def entry(page: Page, term: str) -> Locator:
    """The entry of a search in a list of runs or of saved searches."""
    return page.get_by_role("listitem").filter(has_text=re.compile(re.escape(term) + r"(?![.])"))


def problem(page: Page) -> Locator:
    """The sentence that says what went wrong."""
    return page.get_by_role("main").get_by_role("alert")
