"""Web addresses without what only tells who followed them."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from worker.pipeline.text import words

URL_LENGTH = 4_000
"""Longer addresses are none that a browser would surely open."""

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
"""Query parameters, in lower case, that change what a site counts, never what it shows. `ref` is not among them: it is
one unless its value holds a digit, because sites also give a job's reference number under that name."""

_TRACKING_BY_SITE = {
    "linkedin.com": words("position pagenum refid original_referer ebp recommendedflavor"),
    "indeed.com": words("from tk advn adid ad xkcb xpse xfps camk mclk acatk sjdu pub vjs fccid sponsored pos hidesmr"),
    "glassdoor.com": words("ao ea guid pos s slr tgt uido vt cs cb jobsearchid"),
    "ziprecruiter.com": words("lvk tsid zrclid"),
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def clean_url(url: str | None) -> str | None:
    """Return a web address without tracking, or None for what is no `http` or `https` address.

    Scheme and host are in lower case, default ports, session ids in the path and known tracking parameters are
    removed (`TRACKING_PARAMETERS`, `TRACKING_PREFIXES`). Other parameters stay, in their order and spelling. A
    fragment goes, unless it names the page: a route (`#/jobs/1`, `#!jobs/1`) or something with a number (`#job-17`).
    """
    if url is None:
        return None
    address = re.sub(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff\ud800-\udfff]+", " ", url[: URL_LENGTH + 1])
    address = re.sub(r" +", "%20", address.strip())
    if len(address) > URL_LENGTH or not re.match(r"(?i)https?://[^/?#\\]", address):
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
    cleaned = urlunsplit((parts.scheme, place, path, query, parts.fragment if _names_page(parts.fragment) else ""))
    return cleaned if len(cleaned) <= URL_LENGTH else None


def host_of(url: str) -> str:
    """Return the host of an address that `clean_url` gave."""
    return urlsplit(url).hostname or ""


def _is_tracking(parameter: str, host: str) -> bool:
    name, _, value = parameter.partition("=")
    name = unquote_plus(name).lower()
    if name == "ref":
        return re.search(r"\d", value) is None
    return name in TRACKING_PARAMETERS or name.startswith(TRACKING_PREFIXES) or _is_sites_tracking(name, host)


def _is_sites_tracking(name: str, host: str) -> bool:
    return any(name in names for site, names in _TRACKING_BY_SITE.items() if host == site or host.endswith(f".{site}"))


def _names_page(fragment: str) -> bool:
    if fragment.startswith((":~:", "utm_")):
        return False
    return fragment.startswith(("/", "!")) or bool(re.search(r"\d", fragment.partition("?")[0]))
