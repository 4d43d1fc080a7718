"""The sources of a worker: those that come with it, and those that other packages add."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import SecretStr

from worker.errors import BrokenSourceError
from worker.model import SiteLimits
from worker.settings import SourceSettings
from worker.sources import Source
from worker.sources.arbeitnow import ArbeitnowSource
from worker.sources.ashby import AshbySource
from worker.sources.greenhouse import GreenhouseSource
from worker.sources.jobspy import JobSpySettings, JobSpySource
from worker.sources.jsearch import JSearchSource
from worker.sources.lever import LeverSource
from worker.sources.parameters import SearchParameters
from worker.sources.remotive import RemotiveSource
from worker.sources.unipile import UnipileSource
from worker.sources.youtube import YouTubeSource

ENTRY_POINTS = "supabase_search_worker.sources"
"""The group of entry points by which another package adds a source: its class, or what else returns one when called."""

METHODS = ("validate", "fetch", "records", "parse")


def load_sources(settings: SourceSettings) -> list[Source]:
    """Return all sources: those that come with the worker, and those that other packages add.

    Raises:
        BrokenSourceError: One that was added is no source, or two have one name, or one site.
    """
    named = [(source, f"{source.name} of this worker") for source in builtin_sources(settings)]
    named += [(_load(entry_point), _name(entry_point)) for entry_point in entry_points(group=ENTRY_POINTS)]
    _sites(named)
    return [source for source, _ in named]


def builtin_sources(settings: SourceSettings) -> list[Source]:
    """Return the sources that come with the worker."""
    return [
        JobSpySource(
            JobSpySettings(
                proxies=settings.jobspy_proxies,
                ca_cert=settings.jobspy_ca_cert,
                page_delay_seconds=settings.jobspy_page_delay_seconds,
                site_timeout_seconds=settings.site_timeout_seconds,
            )
        ),
        JSearchSource(_plain(settings.jsearch_api_key), host=settings.jsearch_host, version=settings.jsearch_version),
        GreenhouseSource(),
        AshbySource(),
        LeverSource(),
        ArbeitnowSource(),
        RemotiveSource(),
        UnipileSource(settings.unipile_dsn, _plain(settings.unipile_api_key)),
        YouTubeSource(_plain(settings.youtube_api_key)),
    ]


def by_site(sources: Iterable[Source]) -> dict[tuple[str, str], Source]:
    """Return sources by kind and site.

    Raises:
        BrokenSourceError: One is no source, or two have one name, or one site.
    """
    return _sites([(source, type(source).__name__) for source in sources])


def _sites(named: Sequence[tuple[Source, str]]) -> dict[tuple[str, str], Source]:
    found: dict[tuple[str, str], tuple[Source, str]] = {}
    names: dict[str, str] = {}
    for source, name in named:
        if problem := problem_of_source(source):
            raise BrokenSourceError(f"The source {name} cannot be used: {problem}")
        if source.name in names:
            # Kept pages are known by it.
            raise BrokenSourceError(f"Two sources are named {source.name!r}: {names[source.name]} and {name}")
        names[source.name] = name
        for site in source.sites:
            key = (source.kind, site)
            if key in found:
                raise BrokenSourceError(
                    f"Two sources search the site {site!r} for {source.kind}: {found[key][1]} and {name}"
                )
            found[key] = (source, name)
    return {key: source for key, (source, _) in found.items()}


def _load(entry_point: EntryPoint) -> Source:
    try:
        source: Source = entry_point.load()()
    except Exception as error:
        raise BrokenSourceError(
            f"The source {_name(entry_point)} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return source


def _name(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    origin = f" of {distribution.name} {distribution.version}" if distribution else ""
    return f"{entry_point.name} ({entry_point.value}){origin}"


def problem_of_source(source: Any) -> str | None:
    """Tell what of the protocol `worker.sources.Source` an object lacks, if anything."""
    for name, is_right, allowed in _ATTRIBUTES:
        if not is_right(getattr(source, name, None)):
            return f"{name} must be {allowed}"
    if missing := [name for name in METHODS if not callable(getattr(source, name, None))]:
        return f"it lacks {', '.join(missing)}"
    unknown = [bucket for bucket in source.limits if bucket.partition(":")[0] not in source.sites]
    if unknown:
        return f"limits has the bucket {unknown[0]!r}; allowed: SITE or SITE:NAME, of {', '.join(source.sites)}"
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z0-9_-]{1,60}", value) is not None


def _are_names(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(map(_is_name, value))


def _are_limits(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(limits, SiteLimits) for limits in value.values())


def _are_credentials(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(is_there, bool) for is_there in value.values())


_ATTRIBUTES: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("name", _is_name, "a name of small letters, digits, - and _"),
    ("kind", _is_name, "a name of small letters, digits, - and _"),
    ("sites", _are_names, "a list of names of small letters, digits, - and _"),
    ("version", lambda value: isinstance(value, int) and value >= 1, "an integer from 1 on"),
    (
        "parameters",
        lambda value: isinstance(value, type) and issubclass(value, SearchParameters),
        "a class derived from SearchParameters",
    ),
    ("limits", _are_limits, "SiteLimits by bucket"),
    ("credentials", _are_credentials, "environment variables, each with whether it is there"),
    ("needs_account", lambda value: isinstance(value, bool), "true or false"),
    ("ends_without_news", lambda value: isinstance(value, bool), "true or false"),
)


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
