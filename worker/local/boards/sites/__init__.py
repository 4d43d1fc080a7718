"""The sites that are played, one module each.

A site is a subclass of `board.Board`: `page` says which search page a request asks for, `answer` answers it. `search`
selects the listings for it. The applicant tracking systems share `company_board.CompanyBoard`.
"""

from worker.local.boards.sites.arbeitnow import Arbeitnow
from worker.local.boards.sites.ashby import Ashby
from worker.local.boards.sites.bayt import Bayt
from worker.local.boards.sites.bdjobs import BDJobs
from worker.local.boards.sites.board import Board
from worker.local.boards.sites.glassdoor import Glassdoor
from worker.local.boards.sites.greenhouse import Greenhouse
from worker.local.boards.sites.hellowork import HelloWork
from worker.local.boards.sites.indeed import Indeed
from worker.local.boards.sites.jsearch import JSearch
from worker.local.boards.sites.lever import Lever
from worker.local.boards.sites.linkedin import LinkedIn
from worker.local.boards.sites.naukri import Naukri
from worker.local.boards.sites.remotive import Remotive
from worker.local.boards.sites.unipile import Unipile
from worker.local.boards.sites.youtube import YouTube
from worker.local.boards.sites.ziprecruiter import ZipRecruiter

BOARDS: tuple[type[Board], ...] = (
    LinkedIn,
    Indeed,
    Glassdoor,
    ZipRecruiter,
    Bayt,
    Naukri,
    BDJobs,
    HelloWork,
    JSearch,
    Arbeitnow,
    Remotive,
    Greenhouse,
    Ashby,
    Lever,
    Unipile,
    YouTube,
)
SITES = tuple(board.site for board in BOARDS)


def check_site(site: str) -> None:
    """Check that a site is played.

    Raises:
        ValueError: It is not.
    """
    if site not in SITES:
        raise ValueError(f"no site {site!r}: one of {', '.join(SITES)}")
