"""One browser of a user. What goes wrong in it fails the test, unless the test expects it."""

from __future__ import annotations

import re

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    WebError,
    expect,
)

from tests.browser.people import COOKIE, Person

PATIENCE_MS = 30_000
PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}

# A page that is left, or a run that is not watched any more, aborts its requests and its socket.
_LEFT = ("net::ERR_ABORTED", "WebSocket is closed before the connection is established")

expect.set_options(timeout=PATIENCE_MS)


class Device:
    """A browser context with one page.

    Attributes:
        page: The page.
        context: Its context, with the cookies.
        address: Address of the frontend.
    """

    def __init__(self, browser: Browser, address: str, *, is_phone: bool = False, is_dark: bool = False) -> None:
        self.context: BrowserContext = browser.new_context(
            base_url=address,
            viewport=PHONE if is_phone else DESKTOP,
            has_touch=is_phone,
            color_scheme="dark" if is_dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="Europe/Berlin",
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.address = address
        self._problems: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self.context.on("console", self._note_console)
        self.context.on("weberror", self._note_error)
        self.context.on("requestfailed", self._note_failure)
        self.context.on("response", self._note_response)
        self.page: Page = self.context.new_page()

    def sign_in(self, person: Person, **changes: object) -> None:
        """Put the session of a user into the cookies, as signing in does, with changes."""
        self.context.add_cookies([{"name": COOKIE, "value": person.cookie(**changes), "url": self.address}])

    def reopen(self) -> Page:
        """Open a tab; close the one that was open."""
        closed, self.page = self.page, self.context.new_page()
        closed.close()
        return self.page

    def expects(self, *problems: str) -> None:
        """Allow the problems that match one of these regular expressions, until the end of the test."""
        self._expected.extend(map(re.compile, problems))

    def close(self) -> None:
        """Close it.

        Raises:
            AssertionError: Something went wrong that was not expected.
        """
        self.context.close()
        unexpected = [
            problem for problem in self._problems if not any(known.search(problem) for known in self._expected)
        ]
        if unexpected:
            raise AssertionError("\n".join(["What was not expected:", *unexpected]))

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(left in message.text for left in _LEFT):
            self._problems.append(f"console: {message.text} ({message.location['url']})")

    def _note_error(self, error: WebError) -> None:
        self._problems.append(f"page: {error.error}")

    def _note_failure(self, request: Request) -> None:
        if request.failure not in _LEFT:
            self._problems.append(f"request: {request.method} {request.url} {request.failure}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 400:
            self._problems.append(f"response: {response.request.method} {response.url} {response.status}")
