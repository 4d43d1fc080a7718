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
from rich.markup import escape
from rich.table import Table

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


ROWS: Sequence[tuple[str, str, str]] = (
    ("Performance", "performance", "{:.0f}"),
    ("Accessibility", "accessibility", "{:.0f}"),
    ("Best practices", "best_practices", "{:.0f}"),
    ("SEO", "seo", "{:.0f}"),
    ("First Contentful Paint, ms", "fcp_ms", "{:.0f}"),
    ("Largest Contentful Paint, ms", "lcp_ms", "{:.0f}"),
    ("Total Blocking Time, ms", "tbt_ms", "{:.0f}"),
    ("Cumulative Layout Shift", "cls", "{:.3f}"),
    ("Transferred, kB", "kilobytes", "{:.0f}"),
    ("of this JavaScript, kB", "script_kilobytes", "{:.0f}"),
)


def table_of(figures: list[dict[str, Any]]) -> Table:
    """The figures for people, with a column for each page."""
    table = Table("", *(escape(page["name"]) for page in figures))
    for name, key, form in ROWS:
        table.add_row(name, *(form.format(page[key]) for page in figures))
    return table


def main() -> int:
    """Parse the options, measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="scripts/bench/web", description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="how often each page is measured; the median counts")
    options = parser.parse_args()
    if not CHROMIUM:
        console.print("Chromium was not found: apt-get install chromium, or set CHROMIUM to its path.")
        return 1
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        figures = asyncio.run(measure(folder, folder / "log", options.times))
    console.print(table_of(figures))
    for page in figures:
        console.print(f"Audits of {page['name']} below 90: {', '.join(page['findings']) or 'none'}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
