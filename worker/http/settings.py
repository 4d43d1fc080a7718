"""How a worker sends requests to sites."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worker.http.proxies import HTTPX_SOCKS, problem_of_proxies


def default_user_agent() -> str:
    """Return the name of this software and its version, as `User-Agent` tells it (RFC 9110, 10.1.5)."""
    name = "supabase-search-worker"
    try:
        return f"{name}/{version(name)}"
    except PackageNotFoundError:  # a copy of the code that is not installed
        return name


def problem_of_user_agent(text: str) -> str | None:
    """Tell why a header cannot hold this, if it cannot."""
    return None if re.fullmatch("[!-~]([ -~]*[!-~])?", text) else "must be printable ASCII"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How this worker sends requests to sites.

    Attributes:
        proxies: `http://user:password@host:port`, taken in turn, one a request; none: directly.
        ca_cert: PEM file of the certificates to trust instead of the usual ones, for proxies that open TLS.
        timeout_seconds: Timeout of one request, from connecting to the last byte read.
        user_agent: What the worker calls itself.
        backoff_seconds: Greatest pause before a request is sent a second time; twice that before the third time.

    Raises:
        ValueError: A value cannot work.
    """

    proxies: tuple[str, ...] = ()
    ca_cert: Path | None = None
    timeout_seconds: float = 30.0
    user_agent: str = field(default_factory=default_user_agent)
    backoff_seconds: float = 1.0

    def __post_init__(self) -> None:
        if problem := problem_of_proxies(self.proxies, HTTPX_SOCKS):
            raise ValueError(f"proxies: {problem}")
        if self.ca_cert is not None and not self.ca_cert.is_file():
            raise ValueError(f"ca_cert: {self.ca_cert} is not a file")
        if not self.timeout_seconds > 0:
            raise ValueError("timeout_seconds: must be above 0")
        if not self.backoff_seconds >= 0:
            raise ValueError("backoff_seconds: must be 0 or more")
        if problem := problem_of_user_agent(self.user_agent):
            raise ValueError(f"user_agent: {problem}")
