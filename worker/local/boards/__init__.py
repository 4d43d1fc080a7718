"""Job boards and APIs on loopback: sources search them unchanged, with certificates verified.

A request of a source goes through `server` (listens) -> `proxy` (answers CONNECT with a certificate of its own) ->
`failures` (is the site set to fail?) -> `exits` (does it refuse this exit?) -> `request_log` -> the site's module in
`sites`, which answers from `synthetic` data. `control` lets another process set failures and read the log. `http` reads
requests and writes answers.

    async with Boards(failures={"glassdoor": Failure.BLOCKED}) as boards:
        scrape_jobs("indeed", search_term="nurse", proxies=[boards.proxy_url], ca_cert=boards.ca_cert)

`python -m worker.local.boards` runs the boards as a process of their own.
"""

from worker.local.boards.exits import ExitRule
from worker.local.boards.failures import Failure, FailurePlan
from worker.local.boards.request_log import BoardRequest
from worker.local.boards.server import Boards
from worker.local.boards.sites import SITES
from worker.local.boards.synthetic.jobs import Listing

__all__ = ["SITES", "BoardRequest", "Boards", "ExitRule", "Failure", "FailurePlan", "Listing"]
