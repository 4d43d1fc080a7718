"""The commands of the operator for sources: list them, try one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from worker import testing
from worker.cli.terminal import cell, items_table, local_time, open_console, progress_in_words, quotas_in_words
from worker.cli.usage import WrongUseError, site_named, source_named
from worker.database.queue import FUNCTION_NOT_FOUND, open_queue
from worker.errors import CallRefusedError, ErrorCode, QueueError, SettingsError, SiteError, SiteWaitingError
from worker.http import HttpSettings, open_http
from worker.http.masking import mask
from worker.model import Item, Page, Parameters, Progress, SiteLimits, Transformed
from worker.printable import complain, one_line, printable, printable_json, say
from worker.settings import Settings
from worker.sources import Source, limits_of
from worker.sources.parameters import SITE_LISTS, from_text
from worker.sources.registry import BUILTIN_SOURCES, instances, load_sources
from worker.sources.rules import rules_in_sql

EXIT_FAILURE = 1
EXIT_USAGE = 2

HEALTH_SECONDS = 5
ERRORS_SHOWN = 20

Health = Mapping[str, Any]
"""A row of `worker_site_health`."""


# Listing them --------------------------------------------------------------------------------------------------------


async def sources(*, as_json: bool) -> int:
    """Print the sites of each source with credentials, limits and health; return the exit code."""
    known = load_sources()
    health: dict[str, Health] = {}
    unknown = None
    try:
        health = await _site_health()
    except (SettingsError, QueueError) as error:
        unknown = one_line(str(error))
    if as_json:
        rows = [_row(source, site, health.get(site)) for source in known for site in source.sites]
        say(printable_json({"sites": rows, "health_unknown": unknown}, indent=2))
        return 0
    console = open_console()
    console.print(sources_table(known, None if unknown else health))
    if unknown:
        _print(console, f"Health is unknown: {unknown}")
    return 0


async def _site_health() -> dict[str, Health]:
    """Return the health of the sites, from the database.

    Raises:
        SettingsError: The settings do not name a database.
        QueueError: It does not answer, or refuses. The message does not contain the key.
    """
    settings = Settings()
    key = settings.require("supabase_service_role_key")
    async with open_queue(settings, timeout_seconds=HEALTH_SECONDS) as queue:
        try:
            rows = await queue.site_health(patience_seconds=HEALTH_SECONDS)
        except CallRefusedError as error:
            if error.code == FUNCTION_NOT_FOUND:
                raise QueueError("the database has no worker_site_health: apply the migrations") from None
            raise QueueError(mask(str(error), [key])) from None
    return {str(row["site"]): row for row in rows}


def _row(source: Source, site: str, health: Health | None) -> dict[str, Any]:
    return {
        "source": source.name,
        "kind": source.kind,
        "site": site,
        "credentials": dict(source.credentials),
        "needs_account": source.needs_account,
        "limits": {bucket: asdict(limits) for bucket, limits in limits_of(source, site).items()},
        "health": health,
    }


def sources_table(known: Sequence[Source], health: Mapping[str, Health] | None) -> Table:
    """Return a table of sources, a line for each site.

    Args:
        known: The sources.
        health: Health of the sites that were searched; None: unknown.
    """
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("Source", "Kind", "Site", "Credentials", "Limits", "Health"):
        table.add_column(name, overflow="fold")
    for source in known:
        for site in source.sites:
            how = "" if health is None else health_in_words(health.get(site))
            limits = site_limits_in_words(source, site)
            table.add_row(*map(cell, (source.name, source.kind, site, credentials_in_words(source), limits, how)))
    return table


def credentials_in_words(source: Source) -> str:
    """Return which credentials of a source are missing or set."""
    if missing := [name for name, is_there in source.credentials.items() if not is_there]:
        return f"missing: {', '.join(missing)}"
    parts = [f"set: {', '.join(source.credentials)}"] if source.credentials else []
    return "; ".join([*parts, *(["the user's account"] if source.needs_account else [])]) or "none needed"


def site_limits_in_words(source: Source, site: str) -> str:
    """Return the limits of each bucket of a site, such as `25 requests a minute`."""
    parts = []
    for bucket, limits in limits_of(source, site).items():
        words = limits_in_words(limits)
        _, _, name = bucket.partition(":")
        parts += [f"{name}: {words}" if name else words] if words else []
    return "; ".join(parts) or "none"


def limits_in_words(limits: SiteLimits) -> str:
    """Return limits in words, such as `25 requests a minute, 100 a day`; empty if there are none."""
    parts = []
    if limits.requests is not None:
        periods = {1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day"}
        period = periods.get(int(limits.period_seconds)) if float(limits.period_seconds).is_integer() else None
        parts.append(f"{_count(limits.requests, 'request')} {period or f'in {limits.period_seconds:g} s'}")
    if limits.min_delay_seconds is not None:
        parts.append(f"one every {limits.min_delay_seconds:g} s")
    if limits.quota is not None:
        zone = "" if limits.quota_timezone == "UTC" else f" ({limits.quota_timezone})"
        parts.append(f"{limits.quota:,} a {limits.quota_period}{zone}")
    if limits.searches is not None:
        parts.append(f"{_count(limits.searches, 'search', 'searches')} at a time")
    if limits.searches_per_account is not None:
        parts.append(f"{_count(limits.searches_per_account, 'search', 'searches')} at a time for an account")
    return ", ".join(parts)


def health_in_words(health: Health | None) -> str:
    """Return the health of a site: success rate, pause, and the used part of its quotas."""
    if health is None:
        return "not searched yet"
    reason = f" ({health['last_error_code']})" if health["last_error_code"] else ""
    match health["state"]:
        case "open":
            parts = [f"paused until {local_time(health['paused_until'])}{reason}"]
        case "half_open":
            parts = [f"one search tries whether it is well again{reason}"]
        case _:
            parts = ["well" if health["success_rate"] is None else f"{health['success_rate']:.0%} succeed"]
            parts += [] if health["response_ms"] is None else [f"{health['response_ms']:.0f} ms"]
    return ", ".join(parts + quotas_in_words(health))


# Adding one ----------------------------------------------------------------------------------------------------------


def rules(name: str) -> int:
    """Print the SQL that makes an added source's sites and parameters known to the database; return the exit code."""
    try:
        say(rules_in_sql(source_named(load_sources(), name), instances(BUILTIN_SOURCES)).rstrip())
    except WrongUseError as error:
        complain(str(error))
        return EXIT_USAGE
    except ValueError as error:
        complain(str(error))
        return EXIT_FAILURE
    return 0


# Trying one ----------------------------------------------------------------------------------------------------------


async def try_source(
    known: Sequence[Source],
    name: str,
    site: str | None,
    written: Mapping[str, str],
    *,
    http_settings: HttpSettings,
    timeout_seconds: float,
    account: str | None,
    as_json: bool,
) -> int:
    """Search one site without a database, and print the items; return the exit code.

    Args:
        known: All sources.
        name: The name of the source.
        site: The site; None: the source's only one.
        written: What to search for, as `from_text` reads it.
        http_settings: How to send requests.
        timeout_seconds: Time for one page.
        account: The account to search through.
        as_json: Whether to print items as lines of JSON instead of a table; other output goes to standard error then.
    """
    try:
        source = source_named(known, name)
        site = site_named(source, site)
        parameters = _parameters(source, site, written, account)
    except WrongUseError as error:
        complain(str(error))
        return EXIT_USAGE
    report = open_console(stderr=as_json)
    found = _Found(as_json=as_json)
    try:
        with _live_progress() as progress:
            async with open_http(http_settings) as http:
                pages = testing.search(
                    source, site, parameters, http, account=account, timeout_seconds=timeout_seconds, progress=progress
                )
                async with aclosing(pages):
                    async for page, transformed in pages:
                        found.add(page, transformed)
    except SiteError as error:
        failure, code = f"{error.code}: {error.message}", error.code
    except SiteWaitingError as error:
        failure, code = f"must not be asked now: {error.reason}", ErrorCode.RATE_LIMITED
    else:
        return 0
    finally:
        # Also after a failure, or Ctrl-C.
        found.show(report)
    complain(f"{site}: {failure}")
    return EXIT_USAGE if code is ErrorCode.INVALID_PARAMETERS else EXIT_FAILURE


def _parameters(source: Source, site: str, written: Mapping[str, str], account: str | None) -> Parameters:
    known = [name for name in source.parameters.model_fields if name not in SITE_LISTS]
    for name in written:
        if name not in known:
            raise WrongUseError(f"--param: {source.name} knows no {name!r}; allowed: {', '.join(known)}")
    if missing := [name for name, is_there in source.credentials.items() if not is_there]:
        raise WrongUseError(f"{', '.join(missing)}: required to search with {source.name}")
    if source.needs_account != (account is not None):
        needs = "searches through an account: name one" if source.needs_account else "has no accounts"
        raise WrongUseError(f"--account: {source.name} {needs}")
    parameters = {**from_text([source.parameters], written), "sites": [site]}
    try:
        source.validate(site, parameters)
    except SiteError as error:
        raise WrongUseError(f"{site}: {error.code}: {error.message}") from None
    return parameters


class _Live:
    """Shows the latest progress that a search has reported."""

    def __init__(self, status: Status | None) -> None:
        self._status = status

    def append(self, reported: Progress) -> None:
        if self._status is None:
            return
        self._status.update(Text(progress_in_words(reported.step, reported.current, reported.total, reported.details)))


@contextmanager
def _live_progress() -> Iterator[_Live]:
    console = open_console(stderr=True)
    if not console.is_terminal:
        yield _Live(None)
        return
    with console.status("searching") as status:
        yield _Live(status)


@dataclass(slots=True)
class _Found:
    """What a search has found, and what it cost."""

    as_json: bool
    items: list[Item] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    pages: int = 0
    requests: int = 0
    response_ms: int = 0

    def add(self, page: Page, transformed: Transformed) -> None:
        """Count a page; its items are printed at once if they are printed as JSON."""
        self.pages += 1
        self.requests += page.calls_used
        self.response_ms += page.response_ms
        self.items += transformed.items
        invalid = f", {len(transformed.errors)} invalid" if transformed.errors else ""
        self.costs.append(
            f"Page {page.number}: {_count(len(transformed.items), 'item')}{invalid}; "
            f"{_count(page.calls_used, 'request')}, {page.response_ms} ms"
        )
        for error in transformed.errors:
            where = "" if error.index is None else f", record {error.index + 1}"
            about = f"{error.field}: " if error.field else ""
            self.errors.append(f"Page {page.number}{where}: {about}{error.message}")
        if self.as_json:
            for item in transformed.items:
                say(printable_json(asdict(item)))

    def show(self, console: Console) -> None:
        """Print all of it, except items that are printed already."""
        if self.items and not self.as_json:
            console.print(items_table([asdict(item) for item in self.items]))
        for line in (*self.costs, *self.errors[:ERRORS_SHOWN]):
            _print(console, line)
        if len(self.errors) > ERRORS_SHOWN:
            _print(console, f"... and {len(self.errors) - ERRORS_SHOWN} more invalid records")
        _print(
            console,
            f"{_count(self.pages, 'page')}, {_count(len(self.items), 'item')}, {_count(self.requests, 'request')}, "
            f"{self.response_ms / 1e3:.1f} s",
        )


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _print(console: Console, line: str) -> None:
    console.print(Text(printable(line)), soft_wrap=True)
