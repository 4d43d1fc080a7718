"""How a worker sends requests to sites."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from worker.http.proxies import HTTPX_SOCKS, Proxies, checked_proxies
from worker.settings import EnvironmentSettings, ExistingFile
from worker.version import DISTRIBUTION, __version__


def _check_user_agent(text: str) -> str:
    if not re.fullmatch("[!-~]([ -~]*[!-~])?", text):
        raise ValueError("must be printable ASCII")
    return text


class HttpSettings(EnvironmentSettings):
    """How the sources send requests to sites, except JobSpy, which has its own client.

    Attributes:
        proxies: `http://user:password@host:port`, used in turn, one for each request; none: no proxy.
        ca_cert: PEM file of the certificates to trust instead of the usual ones, for proxies that open TLS.
        timeout_seconds: Timeout of one request, from connecting to the last byte.
        user_agent: The header `User-Agent` (RFC 9110, 10.1.5).
        backoff_seconds: Longest pause before the first retry of a request; twice that before the second.
    """

    proxies: Annotated[Proxies, AfterValidator(partial(checked_proxies, socks=HTTPX_SOCKS))] = Field(
        default=(),
        validation_alias="WORKER_HTTP_PROXIES",
        description="Proxies for the sources that do not use JobSpy, separated by commas, used in turn: "
        "http://user:password@host:port.",
    )
    ca_cert: ExistingFile | None = Field(
        default=None,
        validation_alias="WORKER_HTTP_CA_CERT",
        description="File with the certificates to trust, for a proxy that opens TLS.",
    )
    timeout_seconds: float = Field(
        default=30,
        validation_alias="WORKER_HTTP_TIMEOUT_SECONDS",
        gt=0,
        le=300,
        description="Timeout of one request to a site in seconds, from connecting to the last byte.",
    )
    user_agent: Annotated[str, AfterValidator(_check_user_agent)] = Field(
        default_factory=lambda: f"{DISTRIBUTION}/{__version__}",  # not shown as a value in .env.example
        validation_alias="WORKER_USER_AGENT",
        max_length=200,
        description=f"The User-Agent of requests to these sites. Default: {DISTRIBUTION}/VERSION.",
    )
    backoff_seconds: float = Field(
        default=1,
        validation_alias="WORKER_HTTP_BACKOFF_SECONDS",
        ge=0,
        le=60,
        description="Longest pause in seconds before the first retry of a request; twice that before the second.",
    )
