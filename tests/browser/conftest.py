"""A local stack, sites that are played, a worker, the built frontend, and Chromium."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.appearance import PICTURES, take_picture
from tests.browser.device import Device
from tests.browser.people import Person, sign_up
from tests.browser.waiting import until
from tests.support.boards import PlayedSites, played_sites
from tests.support.stack import worker_environment
from tools import frontend
from worker.local.supabase.stack import Endpoints

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
LATENCY_MS = 150
"""So long that a run changes several times before it ends."""

NewDevice = Callable[..., Device]
Serve = Callable[[str], AbstractContextManager[str]]


_has_failed = pytest.StashKey[bool]()


def pytest_sessionstart() -> None:
    """Forget the pictures of earlier failures."""
    for picture in PICTURES.glob("failed-*.png"):
        picture.unlink()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests have failed, for the pictures of their pages."""
    report = yield
    item.stash[_has_failed] = item.stash.get(_has_failed, False) or report.failed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the pictures are."""
    count = len(list(PICTURES.glob("*.png")))
    terminalreporter.write_line(f"{count} pictures of pages are in {PICTURES}.")


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser") / "log"


@pytest.fixture(scope="session")
def played() -> Iterator[PlayedSites]:
    with played_sites("--latency-ms", str(LATENCY_MS)) as playing:
        yield playing


@pytest.fixture
def sites(played: PlayedSites) -> Iterator[PlayedSites]:
    """The sites; all of them answer again at the end."""
    yield played
    played.heal_all()


@pytest.fixture(scope="session", autouse=True)
def worker(
    shared_stack: Endpoints, played: PlayedSites, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A worker process that searches the played sites."""
    environment = {
        **os.environ,
        **worker_environment(shared_stack),
        **played.environment,
        "JOBSPY_CA_CERT": played.environment["WORKER_HTTP_CA_CERT"],
        "JOBSPY_PAGE_DELAY_SECONDS": "0,0",
        "WORKER_POLL_SECONDS": "0.2",
        "WORKER_POLL_IDLE_SECONDS": "1",
        "WORKER_GRACE_SECONDS": "1",
        "WORKER_SPOOL_DIR": str(tmp_path_factory.mktemp("spool")),
        "WORKER_ID": "worker-1",
        "WORKER_LOG_FORMAT": "json",
    }
    with psycopg.connect(shared_stack.db_url, autocommit=True) as database:
        database.execute("update worker.settings set retry_delay = '0'")
    command = [sys.executable, "-m", "worker", "run"]
    with log.open("ab") as output, subprocess.Popen(command, env=environment, stderr=output) as process:
        try:
            with psycopg.connect(shared_stack.db_url, autocommit=True) as database:
                until(lambda: database.execute("select 1 from worker.workers").fetchone())
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@pytest.fixture(scope="session")
def serve(shared_stack: Endpoints, log: Path) -> Serve:
    """Serves the frontend, which is built once: a second build would take the files of the first one away."""
    frontend.build(log)
    return lambda supabase_url: frontend.served(supabase_url, shared_stack.anon_key, log)


@pytest.fixture(scope="session")
def address(serve: Serve, shared_stack: Endpoints) -> Iterator[str]:
    """Address of the frontend."""
    with serve(shared_stack.url) as served:
        yield served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "Chromium was not found: apt-get install chromium, or set CHROMIUM to its path"
    # The sandbox of Chromium does not work for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def new_device(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[NewDevice]:
    """Opens a browser of its own at each call, for a user or for a visitor."""
    opened: list[Device] = []
    with ExitStack() as devices:

        def new(person: Person | None = None, **options: bool) -> Device:
            device = Device(browser, address, **options)
            devices.callback(device.close)
            opened.append(device)
            if person:
                device.sign_in(person)
            return device

        yield new
        if request.node.stash.get(_has_failed, False):
            for number, device in enumerate(opened, start=1):
                if not device.page.is_closed():
                    take_picture(device.page, f"failed-{request.node.name}-{number}")


@pytest.fixture
def ada(stack: Endpoints) -> Person:
    """A user."""
    return sign_up(stack)


@pytest.fixture
def grace(stack: Endpoints) -> Person:
    """Another user."""
    return sign_up(stack)


@pytest.fixture
def device(new_device: NewDevice, ada: Person) -> Device:
    """A browser in which Ada is signed in."""
    return new_device(ada)
