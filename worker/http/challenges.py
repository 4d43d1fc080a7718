"""Recognizes bot checks: pages that ask for a captcha or test the browser, often with status 200.

The marks are those of each vendor's own pages. Scripts that vendors also add to ordinary pages, such as Cloudflare's
`/cdn-cgi/challenge-platform/scripts/jsd` or the sensors of HUMAN and Akamai, are no marks.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

BOT_CHECK = "the site answers with a bot check"
"""How the messages about bot checks begin."""

_READ_BYTES = 2**17
"""Bytes of a page that are searched. Bot checks have less than 50 kB."""

_TITLE_LENGTH = 100

# https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response
# https://docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-actions.html
_HEADERS = (
    ("Cloudflare", "cf-mitigated", frozenset({"challenge"})),
    ("AWS WAF", "x-amzn-waf-action", frozenset({"challenge", "captcha"})),
)

# Each mark begins with a tag: text of an ordinary page, such as a job that is about captchas, has none.
_PAGES = {
    "Cloudflare": (
        rb"<title>(?:Just a moment\.\.\.|Attention Required! \| Cloudflare)</title>"
        rb"|<script[^>]{0,500}>[^<]{0,500}\bwindow\._cf_chl_opt\b"
    ),
    "DataDome": rb"<(?:script|iframe)[^>]{1,500}\bsrc=[\"']https://(?:ct|geo)\.captcha-delivery\.com/",
    "HUMAN": rb"<(?:div|section|meta)[^>]{1,500}\b(?:id|content)=[\"']px-captcha[\"'-]",
    "Akamai": (
        rb"<div[^>]{1,500}\bid=[\"']sec-if-cpt-container[\"']|<meta[^>]{1,500}[?&;]bm-verify="
        rb"|<title>\s{0,9}Access Denied\s{0,9}</title>.{0,2000}?\berrors\.edgesuite\.net/"
    ),
    "AWS WAF": rb"<script[^>]{0,500}>[^<]{0,500}\bwindow\.gokuProps\b",
    "Imperva": rb"<iframe[^>]{1,1000}>Request unsuccessful\. Incapsula incident ID\b",
}
_CAPTCHAS = {
    "hCaptcha": rb"\bclass=[\"'][^\"'>]{0,200}\bh-captcha\b|//(?:js\.)?hcaptcha\.com/1/api\.js",
    "reCAPTCHA": (
        rb"\bclass=[\"'][^\"'>]{0,200}\bg-recaptcha\b"
        rb"|//(?:www\.)?(?:google\.com|recaptcha\.net)/recaptcha/(?:api|enterprise)\.js"
    ),
    "Cloudflare": rb"\bclass=[\"'][^\"'>]{0,200}\bcf-turnstile\b|//challenges\.cloudflare\.com/turnstile/",
}
# DataDome's answer to a request for JSON.
_CAPTCHA_ADDRESS = re.compile(rb"\{\s{0,9}\"url\"\s{0,9}:\s{0,9}\"https:(?:\\?/){2}geo\.captcha-delivery\.com\b")
_TITLE = re.compile(rb"<title[^>]{0,300}>([^<]{1,1000})", re.IGNORECASE)


def bot_check(headers: Mapping[str, str], body: bytes) -> str | None:
    """Return a message if a response is a vendor's bot check, whatever was requested; None if it is not.

    Args:
        headers: The headers, by case-insensitive name.
        body: The decompressed body.
    """
    for vendor, name, values in _HEADERS:
        if headers.get(name, "").strip().lower() in values:
            return _message(vendor)
    if _CAPTCHA_ADDRESS.match(body):
        return _message("DataDome")
    return _first(_PAGES, body) if is_html(body) else None


def captcha(body: bytes) -> str | None:
    """Return a message if a page has a captcha; None if it has not.

    Ordinary pages may have a captcha for one of their forms: ask only where another answer than a page was expected.
    """
    return _first(_CAPTCHAS, body)


def is_html(body: bytes) -> bool:
    """Return whether a body is a page."""
    return (
        body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<!--", b"<head"))
    )


def html_instead_of_json(body: bytes) -> str:
    """Return a message about a page that came instead of JSON, with its title."""
    title = _TITLE.search(body[:_READ_BYTES])
    words = " ".join(html.unescape(title[1].decode(errors="replace")).split()) if title else ""
    return "the answer is HTML, not JSON" + (f": {words[:_TITLE_LENGTH]}" if words else "")


def _first(marks: Mapping[str, bytes], body: bytes) -> str | None:
    page = body[:_READ_BYTES]
    found = (vendor for vendor, mark in marks.items() if re.search(mark, page, re.IGNORECASE | re.DOTALL))
    return next(map(_message, found), None)


def _message(vendor: str) -> str:
    return f"{BOT_CHECK} ({vendor})"
