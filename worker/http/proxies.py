"""Checks the addresses of proxies, and whether the HTTP libraries can use them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit


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

_HTTP = ("http", "https")
_SCHEMES = (*_HTTP, *REQUESTS_SOCKS.schemes)


_RESOLVED_BY_PROXY = {"socks4": "socks4a", "socks5": "socks5h"}


def url_of_proxy(proxy: str) -> str:
    """Return the URL of a proxy for all HTTP libraries; the default scheme is `http`.

    A SOCKS proxy resolves the names of the sites, as an HTTP proxy does. With `socks5`, httpx lets it do so, but
    requests and curl resolve them on this machine, which may not be able to.
    """
    scheme, separator, rest = proxy.partition("://")
    return f"{_RESOLVED_BY_PROXY.get(scheme, scheme)}://{rest}" if separator else f"http://{proxy}"


def problem_of_proxy(proxy: str) -> str | None:
    """Return what is wrong with an address, without the address, which may hold a password; None if it is valid.

    Args:
        proxy: `[scheme://][user:password@]host[:port]`; the default scheme is `http`.
    """
    if re.search(r"[\s,;]", proxy):
        return "must not contain a space, a comma or a semicolon"
    try:
        url = _parts_of(proxy)
        complete = bool(url.hostname) and url.port != 0
    except ValueError:
        complete = False
    if not complete:
        return "must be [scheme://][user:password@]host[:port]"
    return None if url.scheme in _SCHEMES else f"has the scheme {url.scheme!r}; allowed: {', '.join(_SCHEMES)}"


def problem_of_support(proxy: str, socks: SocksSupport) -> str | None:
    """Return why an HTTP library cannot use a valid address; None if it can."""
    scheme = _parts_of(proxy).scheme
    if scheme in _HTTP:
        return None
    if scheme not in socks.schemes:
        return f"has the scheme {scheme!r}; allowed: {', '.join((*_HTTP, *socks.schemes))}"
    if find_spec(socks.module) is None:
        return f"is a SOCKS proxy, which needs the package {socks.package} (extra socks)"
    return None


def _parts_of(proxy: str) -> SplitResult:
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")
