"""Masks secrets in messages and log lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote

MASK = "***"

_SECRET_NAME = re.compile(r"(?i)key(?!word)|token|secret|auth|passw|cookie|session")
_USER_INFO = re.compile(r"//[^/\s@]+@")


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text with secrets and the credentials in URLs replaced by `MASK`.

    Args:
        text: Any text, such as the message of a library's exception.
        secrets: The secrets. Their percent-encoded forms are masked, too.
    """
    written = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret)) if form}
    if written:
        # In one pass, longest first: a secret that contains another one is masked as a whole.
        longest_first = sorted(written, key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, longest_first)), MASK, text)
    return _USER_INFO.sub(f"//{MASK}@", text)


def proxy_secrets(proxies: Iterable[str]) -> Iterator[str]:
    """Yield the secrets of proxies: `user:password` and the password alone.

    Args:
        proxies: Each `[scheme://][user:password@]host[:port]`.
    """
    for proxy in proxies:
        credentials = proxy.rpartition("@")[0].rpartition("//")[2]
        password = credentials.partition(":")[2]
        for secret in filter(None, (credentials, password)):
            yield from (secret, unquote(secret))


def request_secrets(*named: Mapping[str, object] | None) -> Iterator[str]:
    """Yield the values of headers or query parameters whose names are those of credentials."""
    for values in filter(None, named):
        for name, value in values.items():
            if _SECRET_NAME.search(name):
                yield str(value)
                # `Authorization: Bearer TOKEN`: mask the token alone as well.
                yield str(value).rpartition(" ")[2]
