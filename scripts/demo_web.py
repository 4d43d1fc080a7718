"""The product in a browser: the frontend on this machine, with a worker and a user, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import httpx
from rich.console import Console

from tools import frontend
from worker.local.demo_servers import servers
from worker.local.processes import ProcessError, run_until_signalled, running

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
LATENCY_MS = 600
PAGE_DELAY = "0.5,1"
"""Slow enough to watch a search."""

console = Console()


async def web_demo(folder: Path, log: Path, *, live: bool) -> int:
    """Run the frontend until it is cancelled.

    Args:
        folder: Folder for the data.
        log: Log file of the processes.
        live: Whether to search the real boards.

    Raises:
        FrontendError: The frontend cannot be built or does not start.
        ProcessError: A process did not start, or the worker ended.
    """
    console.print("Building the frontend, unless it is built: about a minute.")
    await asyncio.to_thread(frontend.build, log)
    console.print("Starting Supabase on this machine" + ("." if live else " and the job boards."))
    async with servers(folder, log, live=live, latency_ms=LATENCY_MS, page_delay=PAGE_DELAY) as started:
        supabase = started.supabase
        await create_user(supabase["url"], supabase["service_role_key"])
        with frontend.served(supabase["url"], supabase["anon_key"], log) as address:
            async with running("worker", "run", log=log, **started.worker) as worker:
                console.print(f"\nOpen     [bold]{address}[/bold]\nE-mail   {EMAIL}\nPassword {PASSWORD}\n")
                console.print("Ctrl-C stops everything.")
                await worker.wait()
    raise ProcessError("The worker ended")


async def create_user(url: str, service_role_key: str) -> None:
    """Create the user to sign in as, who also sees the page of admins."""
    user = {"email": EMAIL, "password": PASSWORD, "email_confirm": True, "app_metadata": {"role": "admin"}}
    headers = {"apikey": service_role_key, "Authorization": f"Bearer {service_role_key}"}
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{url}/auth/v1/admin/users", json=user, headers=headers)
        answer.raise_for_status()


def main() -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--web", action="store_true", required=True, help="not in the terminal, but in a browser")
    parser.add_argument("--live", action="store_true", help="search the real job boards instead of those on loopback")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="search-worker-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, Postgres runs as another user
        log = folder / "log"
        try:
            frontend.require_npm()
            return run_until_signalled(web_demo(folder, log, live=options.live))
        except frontend.FrontendError as error:
            console.print(f"{error}", markup=False)
        except ProcessError as error:
            console.print(f"{error}. Its log ends with:\n{log.read_text()[-3000:]}", markup=False)
    return 1


if __name__ == "__main__":
    sys.exit(main())
