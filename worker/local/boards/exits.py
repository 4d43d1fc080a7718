"""How the played sites treat the exits that their clients come through: they tell them apart, and block some.

A client names its exit as the user of the proxy: `http://berlin-1:played@127.0.0.1:PORT`.
"""

from __future__ import annotations

import base64
import random
from collections import defaultdict, deque
from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field

from worker.local.boards.failures import Failure

NO_NAME = ""
"""The exit of a client that names none."""


class ExitRule(BaseModel):
    """When a site refuses an exit, and for how long.

    Attributes:
        pages: Search pages that an exit gets before it is blocked; None: it is not blocked.
        within_seconds: Time within which these pages count. None: since the end of the last block.
        block_seconds: How long it is blocked.
        share: Share of the requests that are refused at random, each alone, from 0 to 1.
        failure: How a refused request is answered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages: int | None = Field(default=None, ge=1)
    within_seconds: float | None = Field(default=None, gt=0)
    block_seconds: float = Field(default=600, gt=0)
    share: float = Field(default=0, ge=0, le=1)
    failure: Failure = Failure.BLOCKED


class ExitRules:
    """The rule of each site, the exits that do not work, and those that are slow.

    Args:
        seed: Seed of what is refused at random.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 (a game)
        self._rules: dict[str, ExitRule] = {}
        self._pages: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._blocked_until: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._broken: dict[str, HTTPStatus] = {}
        self._slow: dict[str, float] = {}

    def set(self, site: str, rule: ExitRule) -> None:
        """Let a site treat its exits by this rule from now on. Blocks that were there are over."""
        self.cancel(site)
        self._rules[site] = rule

    def cancel(self, *sites: str) -> None:
        """Let these sites answer all exits."""
        for site in sites:
            self._rules.pop(site, None)
            for state in (self._pages, self._blocked_until):
                for key in [key for key in state if key[0] == site]:
                    del state[key]

    def block(self, site: str, exit_name: str, until: float) -> None:
        """Let a site with a rule refuse an exit until a time of the monotonic clock."""
        self._blocked_until[site, exit_name] = until

    def current(self) -> dict[str, ExitRule]:
        """Return the rules by site."""
        return dict(self._rules)

    def break_exit(self, name: str, status: HTTPStatus = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED) -> None:
        """Let an exit answer every CONNECT with an error."""
        self._broken[name] = status

    def mend_exit(self, name: str) -> None:
        """Let an exit work again, at its usual speed."""
        self._broken.pop(name, None)
        self._slow.pop(name, None)

    def slow_exit(self, name: str, seconds: float) -> None:
        """Delay every answer through an exit."""
        self._slow[name] = seconds

    def status_of(self, name: str) -> HTTPStatus | None:
        """Return the error with which an exit answers; None: it works."""
        return self._broken.get(name)

    def delay_of(self, name: str) -> float:
        """Return the delay of answers through an exit, in seconds."""
        return self._slow.get(name, 0.0)

    def take(self, site: str, exit_name: str, page: int | None, at: float) -> Failure | None:
        """Return the failure for a request, and count it; None if the site has to answer.

        Args:
            site: The requested site.
            exit_name: The exit that it came through.
            page: The number of the requested search page. None for any other request.
            at: When it arrived, in seconds of the monotonic clock.
        """
        rule = self._rules.get(site)
        if rule is None:
            return None
        key = site, exit_name
        if at < self._blocked_until[key] or self._chance.random() < rule.share:
            return rule.failure
        if page is None or rule.pages is None:
            return None
        pages = self._pages[key]
        while pages and rule.within_seconds is not None and pages[0] <= at - rule.within_seconds:
            pages.popleft()
        if len(pages) < rule.pages:
            pages.append(at)
            return None
        pages.clear()
        self._blocked_until[key] = at + rule.block_seconds
        return rule.failure


def exit_in(headers: Mapping[str, str]) -> str:
    """Return the exit that the headers of a CONNECT name."""
    scheme, _, credentials = headers.get("proxy-authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return NO_NAME
    try:
        return base64.b64decode(credentials).decode().partition(":")[0]
    except ValueError:
        return NO_NAME
