"""Removes tracking from URLs."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from worker.pipeline.text import words

URL_LENGTH = 4_000
"""Longest URL in characters. Some browsers and servers reject longer ones."""

TRACKING_PREFIXES = ("utm_", "hsa_", "mtm_", "pk_", "piwik_", "matomo_", "_hs", "oly_", "vero_")
TRACKING_PARAMETERS = words(
    # advertising clicks
    "gclid gclsrc dclid gbraid wbraid gad_source gad_campaignid fbclid msclkid yclid ttclid twclid li_fat_id igshid "
    "igsh epik rdt_cid sccid irclickid "
    # newsletters and analytics
    "mc_cid mc_eid mkt_tok hsctatracking _ga _gl _gac s_cid s_kwcid ef_id wickedid rb_clickid spm scm "
    # job boards and applicant tracking systems: where the applicant came from
    "source src gh_src lever-source lever-origin lever-source[] iis iisn jbsrc jobsource job_source channel_source "
    "referer_source referral_source referrer ref_source jobboard board_source indeed-apply-token trackingid trk "
    "trkinfo lipi rltr rx_source rx_medium rx_campaign rx_ch rx_group rx_viewer rx_ts rx_r"
)
"""Query parameters, in lower case, that do not change the page. `ref` is not listed: sites also use it for a job's
reference number, so that it counts as tracking only if its value has no digit."""

_TRACKING_BY_SITE = {
    "linkedin.com": words("position pagenum refid original_referer ebp recommendedflavor"),
    "indeed.com": words("from tk advn adid ad xkcb xpse xfps camk mclk acatk sjdu pub vjs fccid sponsored pos hidesmr"),
    "glassdoor.com": words("ao ea guid pos s slr tgt uido vt cs cb jobsearchid"),
    "ziprecruiter.com": words("lvk tsid zrclid"),
}
_SPACES = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff\ud800-\udfff]+")
_START = re.compile(r"(?i)https?://[^/?#\\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def clean_url(url: str | None) -> str | None:
    """Return a URL without tracking, or None if it is not an `http` or `https` URL.

    Scheme and host become lower case. Default ports, session ids in the path and known tracking parameters
    (`TRACKING_PARAMETERS`, `TRACKING_PREFIXES`) are removed. Other parameters keep their order and spelling. The
    fragment is removed, unless it identifies the page: a route (`#/jobs/1`, `#!jobs/1`) or a number (`#job-17`).
    """
    if url is None:
        return None
    address = url if url.isascii() and url.isprintable() and " " not in url else _without_spaces(url)
    if len(address) > URL_LENGTH or not _START.match(address):
        return None
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    userinfo, at, _ = parts.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    place = userinfo + at + (name if port is None or port == _DEFAULT_PORTS[parts.scheme] else f"{name}:{port}")
    path = re.sub(r"(?i);jsessionid=[^/;?]*", "", parts.path) or "/"
    query = "&".join(part for part in parts.query.split("&") if part and not _is_tracking(part, host))
    cleaned = urlunsplit((parts.scheme, place, path, query, parts.fragment if _identifies_page(parts.fragment) else ""))
    return cleaned if len(cleaned) <= URL_LENGTH else None


def _without_spaces(url: str) -> str:
    return re.sub(r" +", "%20", _SPACES.sub(" ", url[: URL_LENGTH + 1]).strip())


def host_of(url: str) -> str:
    """Return the host of a URL that `clean_url` returned."""
    return urlsplit(url).hostname or ""


def _is_tracking(parameter: str, host: str) -> bool:
    name, _, value = parameter.partition("=")
    name = unquote_plus(name).lower()
    if name == "ref":
        return re.search(r"\d", value) is None
    return name in TRACKING_PARAMETERS or name.startswith(TRACKING_PREFIXES) or _is_site_tracking(name, host)


def _is_site_tracking(name: str, host: str) -> bool:
    return any(name in names for site, names in _TRACKING_BY_SITE.items() if host == site or host.endswith(f".{site}"))


def _identifies_page(fragment: str) -> bool:
    if fragment.startswith((":~:", "utm_")):
        return False
    return fragment.startswith(("/", "!")) or bool(re.search(r"\d", fragment.partition("?")[0]))
