"""`./scripts/demo --web` as a person runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

from playwright.sync_api import Browser, expect

from tests.browser import pages
from tests.browser.device import Device
from tests.e2e.test_demo import mark

__all__ = ["mark"]

COMMAND = [sys.executable, "-m", "scripts.demo_web", "--web"]


def test_it_shows_where_to_sign_in_and_ends_with_ctrl_c(browser: Browser, mark: dict[str, str]) -> None:
    with subprocess.Popen(COMMAND, env=mark, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            said = said_until(demo.stdout, "Ctrl-C")
            with closing(Device(browser, said["Open"])) as device:
                page = device.page
                pages.visit(page, "/")
                page.get_by_label("E-mail address").fill(said["E-mail"])
                page.get_by_label("Password").fill(said["Password"])
                page.get_by_role("button", name="Sign in", exact=True).click()
                expect(page.get_by_text("No search is running.")).to_be_visible()
                pages.search(page, "engineer")
                pages.ended(page)
                expect(pages.results(page)).not_to_have_count(0)
        finally:
            demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert demo.wait() == 130


def said_until(lines: Iterator[str], end: str) -> dict[str, str]:
    """Read the table that the demo prints, up to a line that begins like this."""
    said: dict[str, str] = {}
    for line in lines:
        if line.startswith(end):
            return said
        if found := re.fullmatch(r"(Open|E-mail|Password) +(.+)\n", line):
            said[found[1]] = found[2]
    raise AssertionError("the demo has ended")
