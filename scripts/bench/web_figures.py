"""Measures the pages of the frontend with Lighthouse: sign-in, the form, a run with results, and the history."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from scripts.bench.report import Column, Report, add_json_argument, reporting
from scripts.demo_web import EMAIL, PASSWORD, create_user
from tools import frontend
from worker.database.user import signed_in_as
from worker.local.demo_servers import servers
from worker.local.processes import running

MEASURE = Path(".local/bench/lighthouse/measure.mjs")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
COOKIE = "sb-127-auth-token"
"""Named after the first part of the host in the address of Supabase."""
SEARCH = {"search_term": "engineer", "sites": ["linkedin", "indeed"], "results_wanted": 60}

console = Console(highlight=False)


async def measure(folder: Path, log: Path, times: int) -> list[dict[str, Any]]:
    """Return the figures of each page.

    Args:
        folder: Folder for the data.
        log: Log file of the processes.
        times: How often each page is measured; the median counts.
    """
    await asyncio.to_thread(frontend.build, log)
    async with servers(folder, log, live=False, latency_ms=0, page_delay="0,0") as started:
        supabase = started.supabase
        url, anon_key = supabase["url"], supabase["anon_key"]
        await create_user(url, supabase["service_role_key"])
        async with running("worker", "run", log=log, **started.worker):
            run_id = await searched(url, anon_key)
            with frontend.served(url, anon_key, log) as address:
                asked = {
                    "chromium": CHROMIUM,
                    # The sandbox of Chromium does not work for root.
                    "options": ["--no-sandbox"] if os.geteuid() == 0 else [],
                    "address": address,
                    "cookie": {"name": COOKIE, "value": await session(url, anon_key)},
                    "pages": [
                        {"name": "/sign-in", "path": "/sign-in"},
                        {"name": "/", "path": "/", "isSignedIn": True},
                        {"name": "/runs/[id]", "path": f"/runs/{run_id}", "isSignedIn": True},
                        {"name": "/runs", "path": "/runs", "isSignedIn": True},
                        {"name": "/admin", "path": "/admin", "isSignedIn": True},
                    ],
                    "times": times,
                }
                answer = await asyncio.to_thread(ask_lighthouse, asked)
    return answer


async def searched(url: str, anon_key: str) -> str:
    """Search as the user until the end; return the id of the run."""
    async with signed_in_as(url, anon_key, EMAIL, PASSWORD) as user:
        run_id: str = (await user.enqueue("jobs", SEARCH))["id"]
        async for _ in user.follow([run_id]):
            pass
    return run_id


async def session(url: str, anon_key: str) -> str:
    """Sign in; return the session as @supabase/ssr keeps it in a cookie."""
    async with httpx.AsyncClient(timeout=30) as client:
        body = {"email": EMAIL, "password": PASSWORD}
        answer = await client.post(f"{url}/auth/v1/token?grant_type=password", json=body, headers={"apikey": anon_key})
        answer.raise_for_status()
    return "base64-" + base64.urlsafe_b64encode(answer.content).decode().rstrip("=")


def ask_lighthouse(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Let Lighthouse measure pages; return the figures of each."""
    answer = subprocess.run(["node", MEASURE], input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


COLUMNS: Sequence[tuple[str, Column]] = (
    ("name", Column("page")),
    ("performance", Column("Performance")),
    ("accessibility", Column("Accessibility")),
    ("best_practices", Column("Best practices")),
    ("seo", Column("SEO")),
    ("fcp_ms", Column("First Contentful Paint", "ms")),
    ("lcp_ms", Column("Largest Contentful Paint", "ms")),
    ("tbt_ms", Column("Total Blocking Time", "ms")),
    ("cls", Column("Cumulative Layout Shift", digits=3)),
    ("kilobytes", Column("transferred", "kB")),
    ("script_kilobytes", Column("of this JavaScript", "kB")),
)
"""The figures of a page in what `measure.mjs` prints, and how they are shown."""


def report_figures(report: Report, figures: Sequence[dict[str, Any]], times: int) -> None:
    """Report the scores and times of each page, and which audits are below 90."""
    report.condition(f"Lighthouse, as on a phone with a slow connection; each page {times} times, the median counts.")
    rows = [[page[key] for key, _ in COLUMNS] for page in figures]
    report.table("Pages of the frontend", [column for _, column in COLUMNS], rows)
    audits = [(page["name"], ", ".join(page["findings"]) or "none") for page in figures]
    report.table("Audits below 90", [Column("page"), Column("audits")], audits)


def main() -> int:
    """Parse the options, measure, and report the figures."""
    parser = argparse.ArgumentParser(prog="scripts/bench/web", description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="how often each page is measured; the median counts")
    add_json_argument(parser)
    options = parser.parse_args()
    if not CHROMIUM:
        console.print("Chromium was not found: apt-get install chromium, or set CHROMIUM to its path.")
        return 1
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        with reporting(options.json) as report:
            report_figures(report, asyncio.run(measure(folder, folder / "log", options.times)), options.times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
