"""Arguments that name a source or a site."""

from __future__ import annotations

from collections.abc import Sequence

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
