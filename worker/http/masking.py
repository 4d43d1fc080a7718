"""What no message and no log line may show: the one place that takes secrets out of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote

MASK = "***"

_SECRET_NAME = re.compile(r"(?i)key(?!word)|token|secret|auth|passw|cookie|session")
_USER_INFO = re.compile(r"//[^/\s@]+@")


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text without secrets, also where they are percent-encoded, and without the users of addresses.

    Args:
        text: Any text, such as what a library says of its failure.
        secrets: What must not show.
    """
    written = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret)) if form}
    if written:
        # In one pass, the longest first: of a secret that holds another one, nothing is left.
        longest_first = sorted(written, key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, longest_first)), MASK, text)
    return _USER_INFO.sub(f"//{MASK}@", text)


def proxy_secrets(proxies: Iterable[str]) -> Iterator[str]:
    """Yield what is secret of proxies: user and password together, and the password alone.

    Args:
        proxies: `[scheme://][user:password@]host[:port]`, each.
    """
    for proxy in proxies:
        credentials = proxy.rpartition("@")[0].rpartition("//")[2]
        password = credentials.partition(":")[2]
        for secret in filter(None, (credentials, password)):
            yield from (secret, unquote(secret))


def request_secrets(*named: Mapping[str, object] | None) -> Iterator[str]:
    """Yield the values of headers or query parameters that are credentials, by their names."""
    for values in filter(None, named):
        for name, value in values.items():
            if _SECRET_NAME.search(name):
                yield str(value)
                # `Authorization: Bearer TOKEN`: the token alone is as secret.
                yield str(value).rpartition(" ")[2]
