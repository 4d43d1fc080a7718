"""The command `supabase-search-worker demo`: two users, four searches, one worker, watched live through Realtime."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from worker.cli.terminal import items_table, live_view, run_summary
from worker.database.user import FollowedRun, User, signed_in_as
from worker.local.demo_servers import servers
from worker.local.processes import ProcessError, run_until_signalled, running

ITEMS_SHOWN = 12

ENGINEER = {"search_term": "engineer", "sites": ["linkedin", "indeed", "zip_recruiter"], "results_wanted": 60}
SEARCHES: Sequence[tuple[str, dict[str, Any]]] = (
    ("ada", ENGINEER),
    ("ada", {"search_term": "manager", "sites": ["indeed", "glassdoor", "linkedin"], "results_wanted": 40}),
    ("grace", {"search_term": "designer", "sites": ["jsearch", "linkedin", "indeed"], "results_wanted": 40}),
    ("grace", ENGINEER),
)
KEYED_SITE = "jsearch"
"""This site needs an API key, which only the played site provides."""
LATENCY_MS = 250
PAGE_DELAY = "0.2,0.5"
"""Slow enough to watch, and no slower."""

NEXT_STEPS = """\
[bold]Next steps[/bold]
  By hand, in three terminals; each command with --help lists its options:
    {program} local       starts Supabase here, prints its keys
    {program} run         searches the runs that are enqueued
    {program} enqueue "data engineer" --watch
  Real boards:
    {program} demo --live
  In a browser, in a clone of the repository:
    ./scripts/demo --web
  Production: set SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY and SUPABASE_ANON_KEY
    {program} migrations  writes what you push to Supabase
    {program} doctor      checks the set-up, and says what to do
"""

console = Console()


async def demo(folder: Path, log: Path, *, program: str, live: bool) -> int:
    """Run the demo. Return its exit code.

    Args:
        folder: Folder for the data.
        log: Log file of the processes.
        program: How the commands are called, for the next steps.
        live: Whether to search the real boards.
    """
    console.print("Starting Supabase on this machine" + ("." if live else " and the job boards."))
    async with (
        servers(folder, log, live=live, latency_ms=LATENCY_MS, page_delay=PAGE_DELAY) as started,
        AsyncExitStack() as resources,
    ):
        supabase = started.supabase
        console.print(f"Supabase is at {supabase['url']}.")

        users: dict[str, User] = {}
        for name in dict.fromkeys(name for name, _ in SEARCHES):
            users[name] = await resources.enter_async_context(
                signed_in_as(
                    supabase["url"], supabase["anon_key"], f"{name}@example.com", "correct horse battery", create=True
                )
            )
        console.print(f"Signed in: {', '.join(users)}. Each enqueues as a frontend would; then a worker starts.\n")

        titles: dict[str, str] = {}
        runs_of: dict[str, list[str]] = {name: [] for name in users}
        for name, parameters in SEARCHES:
            sites = [site for site in parameters["sites"] if not (live and site == KEYED_SITE)]
            enqueued = await users[name].enqueue("jobs", parameters | {"sites": sites})
            titles[enqueued["id"]] = f"{name}: {parameters['search_term']}"
            runs_of[name].append(enqueued["id"])

        worker = await resources.enter_async_context(running("worker", "run", log=log, **started.worker))
        followed = await watch([(users[name], run_ids) for name, run_ids in runs_of.items()], titles, worker)
        worker.terminate()
        is_clean = await worker.wait() == 0

        console.print()
        for run_id, run in followed.items():
            console.print(f"[bold]{titles[run_id]}[/bold]")
            console.print(run_summary(run))
            console.print()
        for name, run_ids in runs_of.items():
            console.print(f"[bold]Found for {titles[run_ids[0]]}[/bold]")
            console.print(items_table(await users[name].items(run_ids[0], ITEMS_SHOWN)))
        console.print(NEXT_STEPS.format(program=program))

        statuses = [run.run["status"] for run in followed.values()]
        return 0 if is_clean and (live or statuses == ["success", "partial", "success", "success"]) else 1


async def watch(
    followers: Sequence[tuple[User, list[str]]], titles: dict[str, str], worker: asyncio.subprocess.Process
) -> dict[str, FollowedRun]:
    """Show the runs of several users live until all have ended. Return them in the order of `titles`."""
    followed: dict[str, FollowedRun] = {}
    with Live(console=console, auto_refresh=False) as live:

        async def follow(user: User, run_ids: list[str]) -> None:
            async with aclosing(user.follow(run_ids)) as states:
                async for state in states:
                    followed.update(state)
                    shown = [(title, followed[run_id]) for run_id, title in titles.items() if run_id in followed]
                    live.update(live_view(shown), refresh=True)

        following = asyncio.gather(*(follow(user, run_ids) for user, run_ids in followers))
        worker_ended = asyncio.create_task(worker.wait())
        ends: list[asyncio.Future[Any]] = [following, worker_ended]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise ProcessError("The worker ended before its searches did")
            await following
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
    return {run_id: followed[run_id] for run_id in titles}


def run_demo(*, program: str, live: bool) -> int:
    """Run the demo until it ends, or until a signal.

    Args:
        program: How the commands are called, for the next steps.
        live: Whether to search the real boards.

    Returns:
        The exit code.
    """
    with tempfile.TemporaryDirectory(prefix="search-worker-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        log = folder / "log"
        try:
            return run_until_signalled(demo(folder, log, program=program, live=live))
        except ProcessError as error:
            console.print(f"{error}. Its log ends with:\n{log.read_text()[-3000:]}", markup=False)
            return 1
