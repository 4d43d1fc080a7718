"""Makes `docs/limits.md` from the limits that the sources declare, and from the defaults of `worker.settings`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tools.site.settings_page import rows_of_schema, without_cast
from worker.cli.sources import limits_in_words
from worker.model import SiteLimits
from worker.sources import Source
from worker.sources.jobspy import JobSpySource
from worker.sources.jobspy_sites import shared_limits
from worker.sources.registry import BUILTIN_SOURCES

_BEFORE = """\
# Limits

What limits a search, in one place. Made by `./scripts/docs` from the code.

## Sites

All workers together keep these limits, which the source of a site declares. The answers of a site change them, and
what an operator sets wins over both: see [Site limits](site-limits.md#change-the-limits). A *bucket* is what is counted
together.

| bucket | limits | source |
|---|---|---|
"""
_SETTINGS = """
## Users, runs and schedules

Defaults of [`worker.settings`](settings.md#all-workers), which an operator changes. Beyond a limit of a user, the
answer is HTTP 429 or 400: see [Limits of a user](queue.md#limits-of-a-user).

| column | default | meaning |
|---|---|---|
"""
_PLATFORM = """
## The platform

Time limits of statements, Realtime, and what reading costs: see [The Supabase platform](platform.md). What one worker
may use of memory and CPU: see [Load](operating.md#load).
"""


def limits_page() -> str:
    """Return the page."""
    return _BEFORE + "\n".join(_sites()) + "\n" + _SETTINGS + "\n".join(_settings()) + "\n" + _PLATFORM


def _limits(source: type[Source]) -> Mapping[str, SiteLimits]:
    # Those of JobSpy depend on a setting: here it is not set.
    return shared_limits(None) if source is JobSpySource else source.limits


def _sites() -> Iterator[str]:
    for source in BUILTIN_SOURCES:
        for bucket, limits in _limits(source).items():
            yield f"| `{bucket}` | {limits_in_words(limits) or 'none'} | [{source.name}](sources/{source.name}.md) |"


def _settings() -> Iterator[str]:
    for column, _, _, default, meaning in rows_of_schema():
        if column.startswith("`max_"):
            yield f"| {column} | {without_cast(default)} | {meaning} |"
