"""The command `doctor`: checks what a worker needs, each check after those that it depends on."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from importlib.util import find_spec
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from worker.cli.settings import SettingsClass, all_settings_classes, read_settings
from worker.database.answers import QueueStatus
from worker.database.api_keys import holder_of
from worker.database.changes import Binding, SubscriptionLostError, changes
from worker.database.queue import FUNCTION_NOT_FOUND, SCHEMA_VERSION, Queue, open_queue
from worker.engine.addresses import addresses
from worker.engine.embedding_models import EmbedderError, TextRefusedError, open_embedder
from worker.errors import BrokenSourceError, CallRefusedError, DatabaseUnreachableError, SettingsError
from worker.http import HttpSettings
from worker.http.masking import mask
from worker.printable import one_line, say
from worker.settings import Settings, forget_environment
from worker.sources import Source, usable_exits
from worker.sources.jobspy import JobSpySettings
from worker.sources.registry import load_sources

EXIT_FAILURE = 1

REQUEST_SECONDS = 10
RETRY_SECONDS = 5
REALTIME_SECONDS = 15
REALTIME_ATTEMPTS = 3
EMBEDDING_SECONDS = 20
CHECK_SECONDS = 30
"""Limit of each check. It is above the timeouts within a check, which have better messages."""

CLOCK_SKEW_WARNING_SECONDS = 2
SNAPSHOT_WARNING_SECONDS = 300
LATE_SLOT_WARNING_SECONDS = 300
READY_WARNING_SECONDS = 600

RUNBOOK = "docs/alerts.md"

PUBLISHED_TABLES = ("search_runs",)
# https://supabase.com/docs/guides/platform/http-status-codes
PROJECT_PAUSED = 540
# PostgREST's codes and PostgreSQL's (https://docs.postgrest.org/en/v14/references/errors.html).
SCHEMA_NOT_EXPOSED = "PGRST106"
INSUFFICIENT_PRIVILEGE = "42501"
# Realtime's words for a table that is not in its publication.
NOT_PUBLISHED = re.compile(r"Please check Realtime is enabled .*?table: (\w+)")

PUSH = "Apply the migrations: `migrations --to supabase/migrations` writes them, then `supabase db push`."

JOBSPY_MODULES = ("jobspy", "numpy", "pandas")


class Outcome(StrEnum):
    """Result of a check. A worker works unless something is broken."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    SKIPPED = "skipped"


MARKS = {Outcome.OK: "✓", Outcome.WARNING: "!", Outcome.BROKEN: "✗", Outcome.SKIPPED: "-"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        found: The finding, in one line.
        advice: What to do about it; may be empty.
    """

    outcome: Outcome
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked.

    Attributes:
        settings: The settings of the worker.
        others: All settings by class.
        key: The service key.
        queue: The queue.
        sources: All sources, or why they cannot be loaded.
    """

    settings: Settings
    others: Mapping[SettingsClass, Any]
    key: str
    queue: Queue
    sources: Sequence[Source] | BrokenSourceError

    async def status(self) -> QueueStatus:
        """Ask the queue how it is."""
        return await self.queue.status(patience_seconds=RETRY_SECONDS)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: What is checked, in one word.
        needs: The check that must succeed before this one.
        examine: Does the check.
    """

    name: str
    needs: str
    examine: Callable[[Subject], Awaitable[Finding]]


async def doctor() -> int:
    """Run all checks, and print each finding at once; return 1 if something is broken, else 0."""
    exit_code = 0
    async with aclosing(findings()) as found:
        async for name, finding in found:
            for line in lines(name, finding):
                say(line)
            if finding.outcome == Outcome.BROKEN:
                exit_code = EXIT_FAILURE
    return exit_code


def lines(name: str, finding: Finding) -> Iterator[str]:
    """Yield a finding as text: one line, and the advice below it."""
    width = max(len(check.name) for check in CHECKS)
    yield f"{MARKS[finding.outcome]} {name:{width}}  {finding.found}"
    indent = " " * (width + 4)
    yield from textwrap.wrap(
        finding.advice, 118, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


async def findings() -> AsyncGenerator[tuple[str, Finding], None]:
    """Yield the name and the finding of each check when it is done.

    A check is skipped if one that it needs found something broken.
    """
    unsound = set()
    classes = all_settings_classes()
    try:
        read = read_settings(classes)
        settings: Settings = read[Settings]
        key = settings.require("supabase_service_role_key")
    except SettingsError as error:
        *problems, last = str(error).splitlines()
        for problem in problems:
            yield "settings", Finding(Outcome.BROKEN, problem)
        advice = "`python -m worker settings` lists all settings, with their meaning and default."
        yield "settings", Finding(Outcome.BROKEN, last, advice)
        for check in CHECKS:
            yield check.name, Finding(Outcome.SKIPPED, "not checked: needs settings")
        return
    sources = _load_sources()
    forget_environment(classes)
    yield "settings", Finding(Outcome.OK, "valid")

    async with open_queue(settings, timeout_seconds=REQUEST_SECONDS) as queue:
        subject = Subject(settings, read, key, queue, sources)
        for check in CHECKS:
            if check.needs in unsound:
                finding = Finding(Outcome.SKIPPED, f"not checked: needs {check.needs}")
            else:
                finding = await _examine(check, subject)
            if finding.outcome in (Outcome.BROKEN, Outcome.SKIPPED):
                unsound.add(check.name)
            yield check.name, finding


def _load_sources() -> Sequence[Source] | BrokenSourceError:
    try:
        return load_sources()
    except BrokenSourceError as error:
        return error


async def _examine(check: Check, subject: Subject) -> Finding:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            finding = await check.examine(subject)
    except TimeoutError:
        finding = Finding(Outcome.BROKEN, f"took longer than {CHECK_SECONDS} s", "Look at the network and the project.")
    except DatabaseUnreachableError as error:
        advice = "The API answers, but not its database: look at the project's health in the dashboard, and try again."
        finding = Finding(Outcome.BROKEN, str(error), advice)
    # Messages of libraries may contain a key, or the password of an address.
    secrets = [
        value.get_secret_value()
        for settings in subject.others.values()
        for _, value in settings
        if isinstance(value, SecretStr)
    ]
    return replace(finding, found=one_line(mask(finding.found, secrets)), advice=mask(finding.advice, secrets))


async def _check_url(subject: Subject) -> Finding:
    url = subject.settings.supabase_url
    began = time.monotonic()
    try:
        # Without a key: a project's gateway refuses, in JSON.
        async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as http:
            answer = await http.get(f"{url}/rest/v1/")
    except httpx.HTTPError as error:
        reason = str(error) or f"{type(error).__name__} after {REQUEST_SECONDS} s"
        return Finding(Outcome.BROKEN, f"{url} cannot be reached: {reason}", _advice_on(error))
    milliseconds = (time.monotonic() - began) * 1000

    content_type = answer.headers.get("content-type", "no content type").partition(";")[0]
    found = f"{url} answers HTTP {answer.status_code}"
    if answer.status_code == PROJECT_PAUSED:
        return Finding(Outcome.BROKEN, f"{found}: the project is paused", "Restore it in the dashboard.")
    if answer.status_code == HTTPStatus.PAYMENT_REQUIRED:
        advice = "See the organization's usage and billing in the dashboard."
        return Finding(Outcome.BROKEN, f"{found}: the project is restricted", advice)
    if answer.is_server_error:
        advice = "See the project's health in the dashboard and https://status.supabase.com."
        return Finding(Outcome.BROKEN, found, advice)
    is_refusal = answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    if not is_refusal or "json" not in content_type:
        advice = f"Something else answers there. Set {Settings.environment_name('supabase_url')} to the project's URL."
        return Finding(Outcome.BROKEN, f"{found}, {content_type}: not as a Supabase project does", advice)
    return _answered(url, f"{url} answers in {milliseconds:.0f} ms")


def _answered(url: str, found: str) -> Finding:
    if is_exposed(url):
        return Finding(
            Outcome.WARNING,
            f"{found}, unencrypted",
            f"The key and all that is found can be read, and changed, on the way there: set "
            f"{Settings.environment_name('supabase_url')} to an https address, unless the network is yours alone.",
        )
    return Finding(Outcome.OK, found)


def is_exposed(url: str) -> bool:
    """Whether requests to an address leave this machine unencrypted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def _advice_on(error: BaseException) -> str:
    name = Settings.environment_name("supabase_url")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "Check this machine's clock and certificates (SSL_CERT_FILE names others)."
        if isinstance(cause, socket.gaierror):
            return f"No such host, or no DNS: check {name} and the network. A deleted project has no address any more."
        cause = cause.__cause__ or cause.__context__
    return f"Check {name} and the network; a local project has to be started (`python -m worker local`)."


async def _check_key(subject: Subject) -> Finding:
    finding = await _check_service_key(subject)
    anon_key = subject.settings.supabase_anon_key
    if anon_key is None or holder_of(anon_key.get_secret_value()) != "service":
        return finding
    name = Settings.environment_name("supabase_anon_key")
    return Finding(
        max(finding.outcome, Outcome.WARNING, key=[Outcome.OK, Outcome.WARNING, Outcome.BROKEN].index),
        f"{finding.found}; and {name} is a service key, which sees and does everything",
        f"{finding.advice} Set {name} to the anon JWT or an sb_publishable_ key. If a browser has had the service key, "
        "make another one in the project's settings, API Keys.".lstrip(),
    )


async def _check_service_key(subject: Subject) -> Finding:
    name = Settings.environment_name("supabase_service_role_key")
    where = "the service_role JWT or an sb_secret_ key, from the project's settings, API Keys"
    if holder_of(subject.key) == "browser":
        advice = f"It looks like the anon or publishable key, which is for browsers. Set {name} to {where}."
        return Finding(Outcome.BROKEN, "this is not the service key", advice)
    try:
        await subject.status()
    except CallRefusedError as error:
        if error.code == INSUFFICIENT_PRIVILEGE:
            return Finding(
                Outcome.BROKEN,
                f"this is not the service key ({error})",
                f"It looks like the anon or publishable key, which is for browsers. Set {name} to {where}.",
            )
        if error.status == HTTPStatus.UNAUTHORIZED:
            return Finding(Outcome.BROKEN, f"refused ({error})", f"Set {name} to this project's key: {where}.")
        return Finding(Outcome.OK, "accepted; of which role shows when the migrations are there")
    return Finding(Outcome.OK, "accepted, of the service role")


async def _check_migrations(subject: Subject) -> Finding:
    try:
        version = (await subject.status()).schema_version
    except CallRefusedError as error:
        return _refused_status(error)
    found = f"database of version {version}, worker of version {SCHEMA_VERSION}"
    if version < SCHEMA_VERSION:
        return Finding(Outcome.BROKEN, f"{found}: the database is older than the worker", PUSH)
    if version > SCHEMA_VERSION + 1:
        return Finding(Outcome.BROKEN, f"{found}: the database is newer than the worker", "Update the worker.")
    if version > SCHEMA_VERSION:
        advice = "They still work together. Update the worker before the next migrations."
        return Finding(Outcome.WARNING, f"{found}: the database is newer than the worker", advice)
    return Finding(Outcome.OK, f"applied, version {version}")


def _refused_status(error: CallRefusedError) -> Finding:
    if error.code == FUNCTION_NOT_FOUND:
        advice = f"{PUSH} If they are, reload the schema of the API: notify pgrst, 'reload schema'."
        return Finding(Outcome.BROKEN, "not applied: the database has no worker_status", advice)
    if error.code == SCHEMA_NOT_EXPOSED:
        advice = "Expose the schema public in the project's settings, Data API."
        return Finding(Outcome.BROKEN, "the API does not show the schema public", advice)
    return Finding(Outcome.BROKEN, str(error), PUSH)


async def _check_realtime(subject: Subject) -> Finding:
    attempts = count(1)

    def give_up_in_the_end() -> None:
        lost = sys.exception()
        if lost is not None and next(attempts) == REALTIME_ATTEMPTS:
            raise lost

    bindings = [Binding(table) for table in PUBLISHED_TABLES]
    listening = changes(subject.settings.supabase_url, subject.key, bindings, on_lost=give_up_in_the_end)
    try:
        async with asyncio.timeout(REALTIME_SECONDS), aclosing(listening) as events:
            await anext(events)
    except TimeoutError:
        reason = f"no subscription within {REALTIME_SECONDS} s"
    except SubscriptionLostError as error:
        reason = str(error)
    else:
        return Finding(Outcome.OK, f"subscribed to {', '.join(PUBLISHED_TABLES)}")
    if table := NOT_PUBLISHED.search(reason):
        return Finding(
            Outcome.BROKEN,
            f"the publication supabase_realtime is without {table[1]}",
            f"Add it: alter publication supabase_realtime add table public.{table[1]}. "
            "Runs are searched without it, but nobody can watch them.",
        )
    return Finding(
        Outcome.BROKEN,
        reason,
        "See that Realtime is enabled in the project's settings, and that WebSockets pass the network. "
        "Runs are searched without it, found by polling, but nobody can watch them.",
    )


async def _check_clock(subject: Subject) -> Finding:
    began, sent_at = time.monotonic(), datetime.now(UTC)
    status = await subject.status()
    to_there = timedelta(seconds=(time.monotonic() - began) / 2)
    ahead_seconds = (sent_at + to_there - status.now).total_seconds()
    if abs(ahead_seconds) <= CLOCK_SKEW_WARNING_SECONDS:
        return Finding(Outcome.OK, f"within {CLOCK_SKEW_WARNING_SECONDS} s of the database's")
    return Finding(
        Outcome.WARNING,
        f"{abs(ahead_seconds):.0f} s {'ahead of' if ahead_seconds > 0 else 'behind'} the database's",
        "Set this machine's clock by NTP. Leases are safe: the database judges them by its own clock alone. Times in "
        "the logs are off, and a clock that is far off refuses TLS certificates and users' sessions.",
    )


async def _check_queue(subject: Subject) -> Finding:
    status = await subject.status()
    found = f"{status.ready} ready, {status.delayed} delayed, {status.running} running"
    held_seconds = status.oldest_snapshot_seconds or 0
    if held_seconds > SNAPSHOT_WARNING_SECONDS:
        return Finding(
            Outcome.WARNING,
            f"{found}; a transaction has been open for {held_seconds / 60:.0f} min",
            "While it is, vacuum removes no row that it might see, and the queue gets slower. Find it: select pid, "
            "usename, query from pg_stat_activity where coalesce(backend_xmin, backend_xid) is not null order by "
            "xact_start. End it: select pg_terminate_backend(pid).",
        )
    if not status.sees_all_snapshots:
        advice = "To have them checked: grant pg_monitor to the owner of the function worker_status."
        return Finding(Outcome.WARNING, f"{found}; long transactions of other roles are not visible", advice)
    return Finding(Outcome.OK, f"{found}; no long transaction")


async def _check_schedules(subject: Subject) -> Finding:
    status = await subject.status()
    if not status.schedules:
        return Finding(Outcome.OK, "no search is repeated")
    found = f"repeated searches: {status.schedules}"
    late_seconds = status.oldest_due_slot_seconds or 0
    if late_seconds > LATE_SLOT_WARNING_SECONDS:
        return Finding(
            Outcome.WARNING,
            f"{found}; the oldest slot has been due for {late_seconds / 60:.0f} min",
            "Nothing fires them, or not all of them. A worker does once a minute while it runs. Without one: "
            "`python -m worker drain` from a scheduler, a route of the frontend, or pg_cron (select "
            "worker.cron_commands() lists the commands).",
        )
    return Finding(Outcome.OK, f"{found}; no slot is late")


async def _check_workers(subject: Subject) -> Finding:
    health = await subject.queue.health(patience_seconds=RETRY_SECONDS)
    if not health["workers"]:
        seconds = health["last_seen_seconds"]
        last = "none was seen within a day" if seconds is None else f"the last sign was {seconds / 60:.0f} min ago"
        advice = "Start one: `python -m worker run`, or `python -m worker drain` from a scheduler."
        return Finding(Outcome.WARNING, f"no worker lives; {last}", advice)
    versions = ", ".join(sorted({worker["version"] for worker in health["workers"]}))
    found = f"{len(health['workers'])} live, of version {versions}"
    waits_seconds = health["oldest_ready_seconds"] or 0
    if waits_seconds > READY_WARNING_SECONDS:
        return Finding(
            Outcome.WARNING,
            f"{found}; the oldest ready run has waited {waits_seconds / 60:.0f} min",
            f"They are busy, or none of them has a source for it. See {RUNBOOK}, oldest_ready_run.",
        )
    return Finding(Outcome.OK, f"{found}; no run waits for them")


async def _check_incidents(subject: Subject) -> Finding:
    incidents = (await subject.queue.alerts())["incidents"]
    if not incidents:
        return Finding(Outcome.OK, "none is open")
    names = ", ".join(f"{incident['rule']} {incident['subject']}".rstrip() for incident in incidents)
    unsent = [incident["error"] for incident in incidents if incident["error"]]
    found = f"{len(incidents)} open: {names}" + (f"; a notice could not be sent: {unsent[0]}" if unsent else "")
    return Finding(Outcome.WARNING, found, f"`python -m worker alerts list` has the details, {RUNBOOK} what to do.")


async def _check_webhooks(subject: Subject) -> Finding:
    endpoints = await subject.queue.webhooks()
    if not endpoints:
        return Finding(Outcome.OK, "no endpoint")
    secrets = subject.settings.webhook_secrets_by_endpoint()
    disabled = [str(endpoint["name"]) for endpoint in endpoints if endpoint["disabled_at"]]
    dead = [f"{endpoint['dead']} of {endpoint['name']}" for endpoint in endpoints if endpoint["dead"]]
    without = [str(endpoint["name"]) for endpoint in endpoints if endpoint["name"] not in secrets]
    problems = {
        f"disabled: {', '.join(disabled)}": disabled and "`webhooks add` enables an endpoint again.",
        f"dead messages: {', '.join(dead)}": dead and "`webhooks list --dead` says why; `webhooks replay` sends them.",
        f"without a secret here: {', '.join(without)}": without
        and f"A worker with their secrets in {Settings.environment_name('webhook_secrets')} must send to them.",
    }
    found = [problem for problem, advice in problems.items() if advice]
    if found:
        return Finding(
            Outcome.WARNING, "; ".join(found), " ".join(str(advice) for advice in problems.values() if advice)
        )
    return Finding(Outcome.OK, f"endpoints: {len(endpoints)}; no message is dead")


async def _check_alerts(subject: Subject) -> Finding:
    name = Settings.environment_name("alert_urls")
    try:
        to = addresses(subject.settings)
    except SettingsError as error:
        return Finding(Outcome.BROKEN, str(error), f"{RUNBOOK} shows addresses.")
    if not to:
        return Finding(Outcome.OK, f"{name} is not set: this worker sends no notices")
    return Finding(Outcome.OK, f"{', '.join(address.name for address in to)}; `alerts test` sends a message")


async def _check_spool(subject: Subject) -> Finding:
    folder = subject.settings.spool_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding(
            Outcome.WARNING,
            f"{folder} cannot be written to: {error.strerror}",
            f"While Supabase is out of reach, searches wait instead of keeping their pages there. Set "
            f"{Settings.environment_name('spool_dir')} to a folder that this user may write to.",
        )
    return Finding(Outcome.OK, f"{folder} can be written to")


async def _check_jobspy(subject: Subject) -> Finding:
    # Not imported: the modules would stay in the memory of this process.
    missing = [module for module in JOBSPY_MODULES if find_spec(module) is None]
    if missing:
        advice = "Install what the worker requires: pip install -r requirements.txt."
        return Finding(Outcome.BROKEN, f"{', '.join(missing)}: not installed", advice)
    settings: JobSpySettings = subject.others[JobSpySettings]
    if unreadable := _unreadable_certificates(JobSpySettings.environment_name("ca_cert"), settings.ca_cert):
        return unreadable
    return Finding(Outcome.OK, "installed; needs no key")


async def _check_sources(subject: Subject) -> Finding:
    settings: HttpSettings = subject.others[HttpSettings]
    if unreadable := _unreadable_certificates(HttpSettings.environment_name("ca_cert"), settings.ca_cert):
        return unreadable
    sources = subject.sources
    if isinstance(sources, BrokenSourceError):
        return Finding(Outcome.BROKEN, str(sources), "Fix the package, or uninstall it.")
    half_set = [source for source in sources if len(set(source.credentials.values())) > 1]
    if half_set:
        missing = [name for source in half_set for name, is_there in source.credentials.items() if not is_there]
        found = f"{', '.join(source.name for source in half_set)} cannot search: some credentials are missing"
        return Finding(Outcome.WARNING, found, f"Set {', '.join(missing)} as well, or none of them.")
    exits = settings.all_exits()
    try:
        for source in sources:
            for site in source.sites:
                usable_exits(exits, source, site)
    except SettingsError as error:
        return Finding(Outcome.BROKEN, str(error), "See docs/operating.md#exits.")
    without = [source.name for source in sources if not all(source.credentials.values())]
    found = f"{len(sources)} can be loaded, through the exits {', '.join(each.name for each in exits)}" + (
        f"; without credentials: {', '.join(without)}" if without else ""
    )
    return Finding(Outcome.OK, found)


def _unreadable_certificates(name: str, path: Path | None) -> Finding | None:
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        advice = f"Set {name} to a file of PEM certificates that this user may read."
        return Finding(Outcome.BROKEN, f"{name}: {error}", advice)
    return None


async def _check_embeddings(subject: Subject) -> Finding:
    status = await subject.status()
    name = Settings.environment_name("embedding_model")
    try:
        async with asyncio.timeout(EMBEDDING_SECONDS), open_embedder(subject.settings) as embedder:
            if embedder is None:
                advice = f"Set {name} to have the rest embedded." if status.embeddings_waiting else ""
                return Finding(Outcome.OK, f"{name} is not set: this worker embeds nothing", advice)
            if status.embedding_model not in (None, embedder.name):
                return Finding(
                    Outcome.WARNING,
                    f"the database has those of {status.embedding_model}, not of {embedder.name}",
                    f"Set {name} to its model, or have all items embedded again: "
                    f"select worker.change_embedding_model('{embedder.name}'). Until then none are made.",
                )
            (answer,) = await embedder.embed(["Software engineer"])
            if isinstance(answer, TextRefusedError):
                raise EmbedderError(str(answer))  # noqa: TRY301 (found below)
    except SettingsError as error:
        return Finding(Outcome.BROKEN, str(error), "Install it, or embed with another model.")
    except (EmbedderError, TimeoutError) as error:
        advice = "Runs are searched without it; similar items and near-duplicates are not found."
        return Finding(Outcome.WARNING, str(error) or f"nothing is embedded within {EMBEDDING_SECONDS} s", advice)
    found = f"{embedder.name} embeds; {status.embeddings_waiting} waiting, {status.embeddings_failed} given up"
    if status.embeddings_failed:
        advice = (
            "See why: select item_id, error from worker.embedding_queue where due_at = 'infinity'. Try again: update "
            "worker.embedding_queue set attempts = 0, due_at = now() where due_at = 'infinity'."
        )
        return Finding(Outcome.WARNING, found, advice)
    return Finding(Outcome.OK, found)


CHECKS = (
    Check("url", "settings", _check_url),
    Check("key", "url", _check_key),
    Check("migrations", "key", _check_migrations),
    Check("realtime", "migrations", _check_realtime),
    Check("clock", "migrations", _check_clock),
    Check("queue", "migrations", _check_queue),
    Check("schedules", "migrations", _check_schedules),
    Check("spool", "settings", _check_spool),
    Check("jobspy", "settings", _check_jobspy),
    Check("sources", "settings", _check_sources),
    Check("embeddings", "migrations", _check_embeddings),
    Check("workers", "migrations", _check_workers),
    Check("incidents", "migrations", _check_incidents),
    Check("webhooks", "migrations", _check_webhooks),
    Check("alerts", "settings", _check_alerts),
)
