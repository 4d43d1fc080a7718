"""What can be measured of how a page looks, and pictures of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

PROJECT = Path(__file__).parents[2]
PICTURES = PROJECT / ".screenshots"
AXE = PROJECT / "tests" / "e2e" / "node_modules" / "axe-core" / "axe.min.js"

# https://web.dev/articles/cls: shifts within half a second of a click do not count.
SHIFTS = """
window.shifts = []
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
        const what = entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? String(node))
        shifts.push({ value: entry.value, what })
    }
}).observe({ type: 'layout-shift', buffered: true })
"""

_RUN_AXE = """
async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html + ' ' + node.failureSummary) }))
"""

_BEYOND_THE_SCREEN = """
() => [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('.overflow-x-auto'))
    .map((element) => element.outerHTML.slice(0, 120))
"""


def serious_findings(page: Page) -> list[dict[str, Any]]:
    """What axe finds on a page that is serious or critical."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate(_RUN_AXE)
    return found


def scrolls_sideways(page: Page) -> list[str]:
    """The elements that make a page wider than its window; none if it is not."""
    if page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
        return []
    wide: list[str] = page.evaluate(_BEYOND_THE_SCREEN)
    return wide or ["the page"]


def take_picture(page: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
