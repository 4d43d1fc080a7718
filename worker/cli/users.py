"""The commands of a user: enqueue a search, watch it, cancel it, search once more, list the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from rich.live import Live

from worker.cli.terminal import items_table, live_view, open_console, run_summary, runs_table, title_of
from worker.database.user import FollowedRun, User, signed_in
from worker.printable import complain, say
from worker.settings import Settings

EXIT_FAILURE = 1
ITEMS_SHOWN = 20


async def enqueue(
    settings: Settings,
    kind: str,
    parameters: Mapping[str, Any],
    idempotency_key: str | None,
    *,
    fresh: bool,
    watch: bool,
) -> int:
    """Put a search into the queue and print its run's id; return the exit code."""
    async with signed_in(settings) as user:
        run = await user.enqueue(kind, parameters, idempotency_key=idempotency_key, fresh=fresh)
        say(run["id"])
        return await _follow(user, [run["id"]]) if watch else 0


async def rerun(settings: Settings, run_id: str, *, watch: bool) -> int:
    """Put the search of a run into the queue once more and print the new run's id; return the exit code."""
    async with signed_in(settings) as user:
        run = await user.rerun(run_id)
        say(run["id"])
        return await _follow(user, [run["id"]]) if watch else 0


async def cancel(settings: Settings, run_id: str) -> int:
    """Cancel a run and print its status; return the exit code."""
    async with signed_in(settings) as user:
        run = await user.cancel(run_id)
        say(run["status"])
        return 0


async def watch(settings: Settings, run_ids: Sequence[str]) -> int:
    """Follow runs until they end; return 1 if one failed or is not to be seen."""
    async with signed_in(settings) as user:
        return await _follow(user, run_ids)


async def runs(settings: Settings, limit: int) -> int:
    """Print the last runs."""
    async with signed_in(settings) as user:
        open_console().print(runs_table(await user.runs(limit)))
    return 0


async def _follow(user: User, run_ids: Sequence[str]) -> int:
    console = open_console()
    followed: dict[str, FollowedRun] = {}
    with Live(console=console, auto_refresh=False) as live:
        async with aclosing(user.follow(run_ids)) as states:
            async for followed in states:
                titled = [(title_of(run.run), run) for run in followed.values()]
                live.update(live_view(titled), refresh=True)
    if not console.is_terminal:
        console.line()  # rich ends the last line of a live view on terminals alone
    for run_id, run in followed.items():
        console.print(run_summary(run))
        if items := await user.items(run_id, limit=ITEMS_SHOWN):
            console.print(items_table(items))
    unseen = [run_id for run_id in run_ids if run_id not in followed]
    if unseen:
        complain(f"You have no such run: {', '.join(unseen)}")
    has_failed = any(run.run["status"] == "failed" for run in followed.values())
    return EXIT_FAILURE if unseen or has_failed else 0
