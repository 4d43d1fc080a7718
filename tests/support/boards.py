"""The process that plays the sites which are searched by their APIs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx


class PlayedSites:
    """The process that plays the sites.

    Args:
        facts: What it says of itself.
        process: The process.
    """

    def __init__(self, facts: dict[str, Any], process: subprocess.Popen[str]) -> None:
        self._process = process
        self.control_url: str = facts["control_url"]
        self.environment: dict[str, str] = facts["credentials"] | {
            "WORKER_EXITS": f"boards={facts['proxy_url']}",
            "WORKER_HTTP_CA_CERT": facts["ca_cert"],
        }

    def asked(self, site: str) -> list[tuple[float, str]]:
        """Return what a site was asked: when, by the clock of the one that plays it, and the path."""
        log = httpx.get(f"{self.control_url}/requests").raise_for_status().json()["sites"][site]
        return list(zip(log["at"], log["paths"], strict=True))

    def fail(self, site: str, failure: str) -> None:
        """Let a site fail from now on."""
        httpx.put(f"{self.control_url}/failures/{site}", json={"failure": failure}).raise_for_status()

    def heal(self, site: str) -> None:
        """Let it answer again."""
        httpx.delete(f"{self.control_url}/failures/{site}").raise_for_status()

    def heal_all(self) -> None:
        """Let every site answer again."""
        httpx.delete(f"{self.control_url}/failures").raise_for_status()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Let no site answer meanwhile: requests wait."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def played_sites(*options: str) -> Iterator[PlayedSites]:
    """Play the sites until the end.

    Args:
        options: Further options of their command.
    """
    command = [sys.executable, "-m", "worker.local.boards", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield PlayedSites(json.loads(process.stdout.readline()), process)
        finally:
            process.terminate()
