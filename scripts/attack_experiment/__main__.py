"""Two hostile users against one honest user, all of their attacks at once: is he as well served as when he is alone?"""

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

from rich.console import Console

from scripts.attack_experiment.honest import Figures, live, work
from scripts.attack_experiment.stage import KIND, Stage, set_up
from worker.cli import at_least

MOST = 3.0
"""So many times as long as in quiet may what the honest user does take."""
CONCURRENCY = 4
"""Runs that are searched at a time, as by one worker."""
CALM_SECONDS = 60
LOOK_SECONDS = 0.2
ERRORS_SHOWN = 12
HONEST, HOSTILE = "honest", ("mallory", "trudy")
MEASURED = ("insert", "save", "end", "cancel")

console = Console(highlight=False, soft_wrap=True, markup=False)


async def phase(stage: Stage, seconds: float, hostile: tuple[str, ...]) -> tuple[Figures, dict[str, Any]]:
    """Let the honest user live for so long, alone or not; return his figures, and what the others did."""
    figures, stop = Figures(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live(stage, HONEST, figures, stop))
        for _ in range(CONCURRENCY):
            tasks.create_task(work(stage, stage.ids[HONEST], figures, stop))
        done = await _attack(stage, seconds, hostile)
        stop.set()
    return figures, done


async def _attack(stage: Stage, seconds: float, names: tuple[str, ...]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.attack_experiment.hostile", stdin=PIPE, stdout=PIPE
    )
    asked = {"db_url": stage.db_url, "ids": stage.ids, "names": names, "seconds": seconds}
    answer, _ = await process.communicate(json.dumps(asked).encode())
    done: dict[str, Any] = json.loads(answer)
    return done


async def calm(stage: Stage) -> list[str]:
    """Search what is left; return the honest user's runs that do not end."""
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
    """Return what the honest user's runs show that is not of his searches."""
    async with stage.user(HONEST) as connection:
        answer = await connection.execute(
            """
            select item.title from public.run_items as item
            join public.search_runs as run on run.id = item.run_id
            where run.kind = %s and not starts_with(item.title, (run.parameters ->> 'search_term') || ' ')
            """,
            [KIND],
        )
        return [title for (title,) in await answer.fetchall()]


async def experiment(folder: Path, seconds: float) -> bool:
    """Run both phases and print what came of it; return whether the honest user was served."""
    async with set_up(folder, HONEST, *HOSTILE) as stage:
        quiet, _ = await phase(stage, seconds, ())
        attacked, attacks = await phase(stage, seconds, HOSTILE)
        unended, foreign = await calm(stage), await foreign_results(stage)
    problems = [f"a run has not ended: {run}" for run in unended]
    problems += [f"shown although another user's search found it: {title}" for title in foreign]
    for figures in (quiet, attacked):
        problems += [f"{times} times: {error}" for error, times in figures.errors.items()]
    console.print(f"p95 of {seconds:g} s in quiet and as long under attack.\n")
    console.print("| what | times | quiet | attacked | ratio |\n| --- | ---: | ---: | ---: | ---: |")
    for what in MEASURED:
        before, after = quiet.p95(what), attacked.p95(what)
        times = len(attacked.seconds[what])
        console.print(f"| {what} | {times} | {before * 1000:.1f} ms | {after * 1000:.1f} ms | {after / before:.1f} |")
        if after / before > MOST:
            problems.append(f"{what} takes {after / before:.1f} times as long as in quiet")
    console.print("\nAttacks: " + ", ".join(f"{name} {times}" for name, times in sorted(attacks["times"].items())))
    for error, times in sorted(attacks["errors"].items(), key=itemgetter(1), reverse=True)[:ERRORS_SHOWN]:
        console.print(f"  {times:5}  {error}")
    console.print("\n" + ("\n".join(problems) or "The honest user was served as in quiet."))
    return not problems


def main() -> int:
    """Parse the options and run; return 0 if the honest user was served, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/attack", description=__doc__)
    parser.add_argument("--seconds", type=at_least(2), default=30, help="length of each phase (default: 30)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="search-worker-attack-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        return int(not asyncio.run(experiment(folder, options.seconds)))


if __name__ == "__main__":
    sys.exit(main())
