"""Wrong arguments: those that name a source or a site, and those that the database refuses."""

from __future__ import annotations

from collections.abc import Sequence

from postgrest.exceptions import APIError

from worker.errors import QueueError
from worker.sources import Source


class WrongUseError(Exception):
    """The arguments of a command are wrong. The message says what is allowed."""


def source_named(known: Sequence[Source], name: str) -> Source:
    """Return a source by its name.

    Raises:
        WrongUseError: There is none.
    """
    for source in known:
        if source.name == name:
            return source
    raise WrongUseError(f"SOURCE: {name!r} is not one of {', '.join(source.name for source in known)}")


def site_named(source: Source, site: str | None) -> str:
    """Return a site of a source, by default its only one.

    Raises:
        WrongUseError: The source has no such site, or has several.
    """
    if site is None and len(source.sites) == 1:
        return source.sites[0]
    if site is not None and site in source.sites:
        return site
    problem = "is required" if site is None else f"{site!r} is not a site of {source.name}"
    raise WrongUseError(f"--site: {problem}; allowed: {', '.join(source.sites)}")


def refusal_in_words(error: QueueError) -> str:
    """Return why the database refused a call, in its own words where there are any."""
    refusal = error.__cause__
    return refusal.message if isinstance(refusal, APIError) and refusal.message else str(error)
