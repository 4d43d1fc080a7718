"""The ways in which a played site fails, and the failure that each site is set to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Failure(StrEnum):
    """What a site does instead of answering. `QUOTA_EXCEEDED` is meant for sites with a quota."""

    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    BLOCKED = "blocked"
    CAPTCHA = "captcha"
    DRIP = "drip"
    HANG = "hang"
    RESET = "reset"
    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"
    SCHEMA_DRIFT = "schema_drift"
    TRUNCATED = "truncated"
    EMPTY = "empty"


class FailurePlan(BaseModel):
    """A failure, and the requests that it applies to.

    Attributes:
        from_page: With 1, every request fails. With a later page, only requests for that search page and later ones.
        requests: How many requests fail before the site answers again. `None`: all of them, until it is healed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    failure: Failure
    from_page: int = Field(default=1, ge=1)
    requests: int | None = Field(default=None, ge=1)


@dataclass(slots=True)
class _State:
    plan: FailurePlan
    left: int | None


class FailurePlans:
    """The failure plan of each site. A site has at most one."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def set(self, site: str, plan: FailurePlan) -> None:
        """Let `site` fail from now on. Replaces an earlier plan."""
        self._states[site] = _State(plan, plan.requests)

    def cancel(self, *sites: str) -> None:
        """Let these sites answer again."""
        for site in sites:
            self._states.pop(site, None)

    def current(self) -> dict[str, FailurePlan]:
        """Return the current plan of each site that fails, with the number of requests that are left to fail."""
        return {site: state.plan.model_copy(update={"requests": state.left}) for site, state in self._states.items()}

    def take(self, site: str, page: int | None) -> Failure | None:
        """Return the failure for a request, and count it. `None` if the site has to answer.

        Args:
            site: The requested site.
            page: The number of the requested search page, from 1. `None` for any other request.
        """
        state = self._states.get(site)
        if state is None or (page or 1) < state.plan.from_page:
            return None
        if state.left is not None:
            state.left -= 1
            if state.left == 0:
                self.cancel(site)
        return state.plan.failure
