"""Parses and validates lists of proxies for the HTTP libraries that use them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


@dataclass(frozen=True, slots=True)
class SocksSupport:
    """How an HTTP library supports SOCKS proxies.

    Attributes:
        schemes: The SOCKS schemes that it accepts.
        module: The module that it imports for them.
        package: The package that installs the module.
    """

    schemes: tuple[str, ...]
    module: str
    package: str


REQUESTS_SOCKS = SocksSupport(("socks4", "socks4a", "socks5", "socks5h"), "socks", "requests[socks]")
"""https://requests.readthedocs.io/en/latest/user/advanced/#socks"""

HTTPX_SOCKS = SocksSupport(("socks5", "socks5h"), "socksio", "httpx[socks]")
"""https://www.python-httpx.org/advanced/proxies/#socks"""


def _split_at_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Proxies = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
"""A setting that is a list of proxies, separated by commas in the environment."""


def checked_proxies(value: tuple[str, ...], socks: SocksSupport) -> tuple[str, ...]:
    """Return a setting's proxies.

    Raises:
        ValueError: The client cannot use one of them.
    """
    if problem := problem_of_proxies(value, socks):
        raise ValueError(problem)
    return value


def problem_of_proxies(proxies: Sequence[str], socks: SocksSupport) -> str | None:
    """Return what is wrong with the first invalid proxy, or None if all are valid.

    The message gives the proxy's number, not its value, which may contain a password.

    Args:
        proxies: Each `[scheme://][user:password@]host[:port]`; the default scheme is `http`.
        socks: The SOCKS support of the library that uses them.
    """
    problems = ((number, _problem_of_proxy(proxy, socks)) for number, proxy in enumerate(proxies, start=1))
    return next((f"number {number} {problem}" for number, problem in problems if problem), None)


def with_scheme(proxy: str) -> str:
    """Return a proxy's address with a scheme; the default is `http`."""
    return proxy if "://" in proxy else f"http://{proxy}"


def _problem_of_proxy(proxy: str, socks: SocksSupport) -> str | None:
    if re.search(r"[\s,;]", proxy):
        return "must not contain a space, a comma or a semicolon; list each proxy as a separate entry"
    try:
        url = urlsplit(with_scheme(proxy))
        complete = bool(url.hostname) and url.port != 0
    except ValueError:
        complete = False
    if not complete:
        return "must be [scheme://][user:password@]host[:port]"
    if url.scheme in ("http", "https"):
        return None
    if url.scheme not in socks.schemes:
        return f"has the scheme {url.scheme!r}; allowed: {', '.join(('http', 'https', *socks.schemes))}"
    if find_spec(socks.module) is None:
        return f"is a SOCKS proxy, which needs the package {socks.package}"
    return None
