"""Boards that tell exits apart, and workers that have several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from worker.local.boards import BoardRequest, Boards
from worker.local.boards.http import Request, Response
from worker.local.boards.sites.arbeitnow import Arbeitnow

PAGE_JOBS = 10

JITTER_SECONDS = 0.3
"""How much later than it was permitted a request may be sent on a busy machine."""


class EndlessArbeitnow(Arbeitnow):
    """Has ten jobs on each of its pages, which do not end."""

    def answer(self, request: Request) -> Response:
        """Answer with a page of the board."""
        page = request.number("page", 1)
        jobs: list[Mapping[str, Any]] = [
            {
                "slug": f"job-{page}-{number}",
                "company_name": f"Clinic {page}",
                "title": f"Nurse {page}-{number}",
                "description": "",
                "remote": False,
                "url": f"https://www.arbeitnow.com/jobs/companies/clinic-{page}/job-{page}-{number}",
                "tags": [],
                "job_types": [],
                "location": "Berlin",
                "created_at": int(self.now.timestamp()) - page,
            }
            for number in range(PAGE_JOBS)
        ]
        return Response.json({"data": jobs, "links": {"next": f"?page={page + 1}"}, "meta": {"current_page": page}})


def exits_of(boards: Boards, *names: str) -> str:
    """The setting of a worker that has these exits to the boards."""
    return ",".join(f"{name}={boards.exit_url(name)}" for name in names)


def by_exit(boards: Boards, site: str) -> dict[str, list[BoardRequest]]:
    """The requests that a site received, by the exit that they came through."""
    found: defaultdict[str, list[BoardRequest]] = defaultdict(list)
    for request in boards.requests(site):
        found[request.exit].append(request)
    return dict(found)


def keep_pace(boards: Boards, site: str, pause_seconds: float) -> bool:
    """Whether no exit got more requests than fit into its time, with such a pause between two of them."""
    return all(
        # A request may be sent later than it was permitted, and the next one not.
        requests[-1].at - requests[0].at >= pause_seconds * (len(requests) - 1) - JITTER_SECONDS
        for requests in by_exit(boards, site).values()
    )


def asked_while_blocked(boards: Boards, site: str, block_seconds: float, answer_seconds: float) -> list[BoardRequest]:
    """The requests through exits that the site had refused before, within the block.

    Args:
        boards: The boards.
        site: The site.
        block_seconds: How long the site blocks an exit.
        answer_seconds: Time within which an answer is there: requests before that could not know of the block.
    """
    found = []
    for requests in by_exit(boards, site).values():
        refused_at = float("-inf")
        for request in requests:
            if refused_at + answer_seconds < request.at < refused_at + block_seconds:
                found.append(request)
            elif request.failure is not None and request.at >= refused_at + block_seconds:
                refused_at = request.at
    return found
