"""The ways in which a played site fails, and which of them is due."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Failure(StrEnum):
    """What a site does instead of answering. Only sites with plans have a quota to exceed."""

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
    """A failure that was ordered for a site.

    Attributes:
        from_page: From 1 on every request fails; from a later page on only requests for search pages do.
        requests: How many requests fail before the board is well again; `None` for all until it is healed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    failure: Failure
    from_page: int = Field(default=1, ge=1)
    requests: int | None = Field(default=None, ge=1)


@dataclass(slots=True)
class _Order:
    plan: FailurePlan
    left: int | None


class FailurePlans:
    """The failure ordered for each site, at most one."""

    def __init__(self) -> None:
        self._orders: dict[str, _Order] = {}

    def order(self, site: str, plan: FailurePlan) -> None:
        """Let `site` fail from now on, in place of an earlier order."""
        self._orders[site] = _Order(plan, plan.requests)

    def cancel(self, site: str) -> None:
        """Let `site` answer again."""
        self._orders.pop(site, None)

    def current(self) -> dict[str, FailurePlan]:
        """Return the orders that still stand, with the requests that are left to fail."""
        return {site: order.plan.model_copy(update={"requests": order.left}) for site, order in self._orders.items()}

    def take(self, site: str, page: int | None) -> Failure | None:
        """Return the failure of a request, and count it.

        Args:
            site: The site that was asked.
            page: The search page asked for, from 1; `None` for any other request.
        """
        order = self._orders.get(site)
        if order is None or (page or 1) < order.plan.from_page:
            return None
        if order.left is not None:
            order.left -= 1
            if order.left == 0:
                self.cancel(site)
        return order.plan.failure
