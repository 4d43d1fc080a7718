"""The media types of the response, and of the body of a request."""

from __future__ import annotations

import re

from worker.local.supabase.rest.errors import RestError, unsupported

JSON = "application/json"
SINGLE_OBJECT = "application/vnd.pgrst.object+json"
CSV = "text/csv"

_SINGLE_OBJECTS = (SINGLE_OBJECT, "application/vnd.pgrst.object")
_ARRAYS = ("application/vnd.pgrst.array+json", "application/vnd.pgrst.array")
_STRIPPED = re.compile(r";\s*nulls\s*=\s*\"?stripped\b", re.IGNORECASE)
_REFUSED = re.compile(r"application/geo\+json|application/vnd\.pgrst\.plan(\+json|\+text)?")
_PARSED_ELSEWHERE = (CSV, "application/x-www-form-urlencoded")
_KNOWN = (
    "application/geo+json", "application/octet-stream", "application/openapi+json", "application/x-www-form-urlencoded",
    CSV, "text/plain", "text/xml",
)  # fmt: skip
_PARAMETER_OF_A_FUNCTION = ("text/plain", "text/xml", "application/octet-stream")


def representation(accept: str | None) -> str:
    """Return the media type of the response: the first accepted one that is available.

    Raises:
        RestError: None is available (PGRST107), or the local stack does not support the first one.
    """
    accepted = _in_order(accept or "*/*")
    for media_type in accepted:
        name = _name(media_type)
        if name in (JSON, "*/*"):
            return JSON
        if name == CSV:
            return CSV
        if name in (*_SINGLE_OBJECTS, *_ARRAYS):
            if _STRIPPED.search(media_type):
                raise unsupported("nulls=stripped")
            return SINGLE_OBJECT if name in _SINGLE_OBJECTS else JSON
        if _REFUSED.fullmatch(name):
            raise unsupported(f"the media type {name}")
    shown = ", ".join(map(_shown, accepted))
    raise RestError(406, "PGRST107", f"None of these media types are available: {shown}")


def check_content_type(content_type: str | None, *, is_rpc: bool) -> None:
    """Check that a body is JSON.

    Raises:
        RestError: PostgREST does not accept the type (PGRST102), or the local stack does not support it.
    """
    name = _name(content_type or JSON)
    if name == JSON or (name in _ARRAYS and not _STRIPPED.search(content_type or "")):
        return
    if name in _PARSED_ELSEWHERE or (is_rpc and name in _PARAMETER_OF_A_FUNCTION):
        raise unsupported(f"bodies of the type {name}")
    raise RestError(400, "PGRST102", f"Content-Type not acceptable: {_shown(content_type or JSON)}")


def _name(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _shown(media_type: str) -> str:
    """Return a media type as messages show it: without parameters, if PostgREST knows it."""
    name = _name(media_type)
    return name if name in _KNOWN else media_type


def _in_order(accept: str) -> list[str]:
    """Return the media types, sorted by quality, and then by specificity."""

    def rank(part: str) -> tuple[float, int, str]:
        media_type, _, rest = part.replace(" ", "").partition(";q=")
        try:
            quality = float(rest.partition(";")[0]) if rest else 1.0
        except ValueError:
            quality = 1.0
        return -quality, media_type.count("*") - media_type.count(";"), media_type

    return [media_type for _, _, media_type in sorted(map(rank, accept.split(",")), key=lambda ranked: ranked[:2])]
