"""Two hostile users and a hostile board against one honest user: is he served as well as without them?"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from tests.attack.board import (
    EVIL,
    FOREIGN,
    MAX_MEMORY_MB,
    MIB,
    most_memory,
    search,
    worker_at_boards,
)
from tests.attack.honest import Figures, live, work
from tests.attack.stage import KIND, Stage, set_up
from worker.cli.main import at_least

MAX_RATIO = 3.0
"""Maximum ratio between the times of the honest user with and without the attack."""
MIN_SECONDS = 0.005
"""Shorter times count as this one. Below it, the load of the processor decides."""
COMPANY = "eastmarrow-cloud"
CONCURRENCY = 4
"""Runs that are searched at a time, as by one worker."""
CALM_SECONDS = 60
LOOK_SECONDS = 0.2
ERRORS_SHOWN = 12
HONEST, HOSTILE = "honest", ("mallory", "trudy")
MEASURED = ("insert", "save", "end", "cancel")

console = Console(highlight=False, soft_wrap=True, markup=False)


async def phase(
    stage: Stage, worker: psutil.Process, seconds: float, hostile: tuple[str, ...]
) -> tuple[Figures, dict[str, Any]]:
    """Run the honest user for a while, alone or under attack. Return his figures, and those of the others."""
    figures, stop = Figures(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live(stage, HONEST, figures, stop))
        tasks.create_task(search(stage, HONEST, COMPANY, stop))
        for name in hostile:
            tasks.create_task(search(stage, name, EVIL, stop))
        for _ in range(CONCURRENCY):
            tasks.create_task(work(stage, stage.ids[HONEST], figures, stop))
        memory = tasks.create_task(most_memory(worker, stop))
        done = await _attack(stage, seconds, hostile)
        stop.set()
    return figures, done | {"memory": memory.result()}


async def _attack(stage: Stage, seconds: float, names: tuple[str, ...]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.attack.hostile", stdin=PIPE, stdout=PIPE
    )
    asked = {"db_url": stage.db_url, "ids": stage.ids, "names": names, "seconds": seconds}
    answer, _ = await process.communicate(json.dumps(asked).encode())
    done: dict[str, Any] = json.loads(answer)
    return done


async def calm(stage: Stage) -> list[str]:
    """Search the remaining runs. Return the runs of the honest user that do not end."""
    figures, stop = Figures(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks, stage.owner() as database:
        tasks.create_task(work(stage, stage.ids[HONEST], figures, stop))
        deadline = time.monotonic() + CALM_SECONDS
        while True:
            unended = await _unended(stage, database)
            if not unended or time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
        stop.set()
    return unended


async def _unended(stage: Stage, database: Any) -> list[str]:
    answer = await database.execute(
        "select format('%%s %%s', id, status) from public.search_runs where user_id = %s and completed_at is null",
        [stage.ids[HONEST]],
    )
    return [text for (text,) in await answer.fetchall()]


async def foreign_results(stage: Stage) -> list[str]:
    """Return the items in the honest user's runs that his searches did not find."""
    async with stage.user(HONEST) as connection:
        answer = await connection.execute(
            """
            select item.title from public.run_items as item
            join public.search_runs as run on run.id = item.run_id
            where case run.kind when %s then not starts_with(item.title, (run.parameters ->> 'search_term') || ' ')
                                else strpos(item.title, %s) > 0 or run.status <> 'success' end
            """,
            [KIND, FOREIGN],
        )
        return [title for (title,) in await answer.fetchall()]


async def experiment(folder: Path, seconds: float, *, any_speed: bool) -> bool:
    """Run both phases and print the figures. Return whether the honest user was served."""
    async with set_up(folder, HONEST, *HOSTILE) as stage, worker_at_boards(stage, folder) as worker:
        alone, _ = await phase(stage, worker, seconds, ())
        attacked, attacks = await phase(stage, worker, seconds, HOSTILE)
        unended, foreign = await calm(stage), await foreign_results(stage)
    problems = [f"a run has not ended: {run}" for run in unended]
    problems += [f"shown although another user's search found it: {title}" for title in foreign]
    for figures in (alone, attacked):
        problems += [f"{times} times: {error}" for error, times in figures.errors.items()]
    console.print(f"p95 of {seconds:g} s without the attack, and as long under attack.\n")
    console.print("| operation | times | alone | attacked | ratio |\n| --- | ---: | ---: | ---: | ---: |")
    for what in MEASURED:
        before, after = alone.p95(what), attacked.p95(what)
        ratio = after / max(before, MIN_SECONDS)
        times = len(attacked.seconds[what])
        console.print(f"| {what} | {times} | {before * 1000:.1f} ms | {after * 1000:.1f} ms | {ratio:.1f} |")
        if ratio > MAX_RATIO and not any_speed:
            problems.append(f"{what} takes {ratio:.1f} times as long as without the attack")
    memory = attacks["memory"] / MIB
    console.print(f"\nThe worker that searches the hostile board took at most {memory:.0f} MB.")
    if memory > MAX_MEMORY_MB:
        problems.append(f"the worker took {memory:.0f} MB; the limit is {MAX_MEMORY_MB} MB")
    console.print("\nAttacks: " + ", ".join(f"{name} {times}" for name, times in sorted(attacks["times"].items())))
    for error, times in sorted(attacks["errors"].items(), key=itemgetter(1), reverse=True)[:ERRORS_SHOWN]:
        console.print(f"  {times:5}  {error}")
    console.print("\n" + ("\n".join(problems) or "The honest user was served as without the attack."))
    return not problems


def main() -> int:
    """Run the experiment. Return 0 if the honest user was served, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/attack", description=__doc__)
    parser.add_argument("--seconds", type=at_least(2), default=30, help="length of each phase (default: 30)")
    parser.add_argument("--any-speed", action="store_true", help="let him wait longer than that, as on a busy machine")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="search-worker-attack-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        return int(not asyncio.run(experiment(folder, options.seconds, any_speed=options.any_speed)))


if __name__ == "__main__":
    sys.exit(main())
