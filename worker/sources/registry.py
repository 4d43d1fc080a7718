"""The sources of a worker: those that come with it, and those that installed packages add."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeGuard

from worker.errors import BrokenSourceError, SettingsError
from worker.model import SiteLimits
from worker.settings import EnvironmentSettings
from worker.sources import Source
from worker.sources.arbeitnow import ArbeitnowSource
from worker.sources.ashby import AshbySource
from worker.sources.greenhouse import GreenhouseSource
from worker.sources.jobspy import JobSpySource
from worker.sources.jsearch import JSearchSource
from worker.sources.lever import LeverSource
from worker.sources.parameters import SearchParameters
from worker.sources.remotive import RemotiveSource
from worker.sources.unipile import UnipileSource
from worker.sources.youtube import YouTubeSource

ENTRY_POINTS = "supabase_search_worker.sources"
"""The group of entry points by which another package adds a source: each one names its class."""

BUILTIN_SOURCES: tuple[type[Source], ...] = (
    JobSpySource,
    JSearchSource,
    GreenhouseSource,
    AshbySource,
    LeverSource,
    ArbeitnowSource,
    RemotiveSource,
    UnipileSource,
    YouTubeSource,
)
"""The sources that come with the worker."""

METHODS = ("validate", "fetch", "records", "parse", "records_in")


def load_sources() -> list[Source]:
    """Return all sources, built-in and added, with their settings from the environment.

    Raises:
        BrokenSourceError: An added source cannot be used, or two sources have the same name or site.
        SettingsError: Settings of sources are wrong, with a line for each.
    """
    named: list[tuple[Source, str]] = []
    problems: list[str] = []
    for installed in _installed():
        try:
            named.append((installed.make(), installed.label))
        except BrokenSourceError:
            raise
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    _sites(named)
    return [source for source, _ in named]


def instances(sources: Iterable[Source | type[Source]]) -> list[Source]:
    """Return sources as instances: a class is called without arguments.

    Raises:
        SettingsError: Its settings are wrong.
    """
    return [source() if isinstance(source, type) else source for source in sources]


def settings_classes() -> list[type[EnvironmentSettings]]:
    """Return the settings classes of all sources. An added source that cannot be loaded has none here."""
    found: list[type[EnvironmentSettings]] = []
    for installed in _installed():
        with suppress(BrokenSourceError):
            settings = getattr(installed.load(), "settings", None)
            if _is_settings_class(settings):
                found.append(settings)
    return found


@dataclass(frozen=True, slots=True)
class _Installed:
    """A source class that may have to be loaded yet.

    Attributes:
        label: What messages call it.
        find: Returns the class.
    """

    label: str
    find: Callable[[], Any]

    def load(self) -> type[Source]:
        """Return the class.

        Raises:
            BrokenSourceError: It cannot be loaded.
        """
        try:
            source: type[Source] = self.find()
        except Exception as error:
            raise self._broken(error) from error
        if not isinstance(source, type):
            raise BrokenSourceError(f"The source {self.label} cannot be used: it must be a class")
        return source

    def make(self) -> Source:
        """Return an instance.

        Raises:
            BrokenSourceError: It cannot be loaded, or fails.
            SettingsError: Its settings are wrong.
        """
        source = self.load()
        try:
            return source()
        except SettingsError:
            raise
        except Exception as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> BrokenSourceError:
        return BrokenSourceError(f"The source {self.label} cannot be loaded: {type(error).__name__}: {error}")


def _installed() -> Iterator[_Installed]:
    for source in BUILTIN_SOURCES:
        yield _Installed(f"{source.name} of this worker", partial(_identity, source))
    for entry_point in entry_points(group=ENTRY_POINTS):
        yield _Installed(_label(entry_point), entry_point.load)


def _identity(source: type[Source]) -> type[Source]:
    return source


def by_site(sources: Iterable[Source]) -> dict[tuple[str, str], Source]:
    """Return sources by kind and site.

    Raises:
        BrokenSourceError: One is not a source, or two have the same name or site.
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


def _label(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    origin = f" of {distribution.name} {distribution.version}" if distribution else ""
    return f"{entry_point.name} ({entry_point.value}){origin}"


def problem_of_source(source: Any) -> str | None:
    """Return what an object lacks of the protocol `Source`, if anything."""
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


def _is_settings_class(value: object) -> TypeGuard[type[EnvironmentSettings]]:
    return isinstance(value, type) and issubclass(value, EnvironmentSettings)


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
    (
        "settings",
        lambda value: value is None or _is_settings_class(value),
        "a class derived from EnvironmentSettings, or None",
    ),
    ("limits", _are_limits, "SiteLimits by bucket"),
    ("credentials", _are_credentials, "environment variables, each with whether it is there"),
    ("needs_account", lambda value: isinstance(value, bool), "true or false"),
    ("ends_without_news", lambda value: isinstance(value, bool), "true or false"),
)
