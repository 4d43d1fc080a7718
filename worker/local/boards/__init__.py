"""Job boards and APIs on loopback: sources search them unchanged, with certificates verified.

The server is an HTTP proxy. It answers CONNECT for the hosts of the sites with a certificate of its own authority
and plays the host behind it; any other host is refused, so nothing leaves the machine:

    async with Boards(failures={"glassdoor": Failure.BLOCKED}) as boards:
        scrape_jobs("indeed", search_term="nurse", proxies=[boards.proxy_url], ca_cert=boards.ca_cert)

`python -m worker.local.boards` runs it as a process of its own.
"""

from worker.local.boards.failures import Failure, FailurePlan
from worker.local.boards.listings import Listing
from worker.local.boards.server import SITES, BoardRequest, Boards

__all__ = ["SITES", "BoardRequest", "Boards", "Failure", "FailurePlan", "Listing"]
