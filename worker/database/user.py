"""The client of a user: sign in, enqueue a search, follow it live."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from supabase import AsyncClient
from supabase_auth.errors import AuthApiError
from tenacity import stop_after_delay

from worker.database.changes import DEFAULT_TIMING, Binding, Change, Recheck, Timing, changes
from worker.database.client import open_client, retrying
from worker.errors import SettingsError
from worker.settings import Settings

FINAL_STATUSES = frozenset({"success", "partial", "failed", "cancelled"})
REQUEST_TIMEOUT_SECONDS = 15
PATIENCE_SECONDS = 30
"""For how long a request is retried."""
MAX_IDS = 100
"""Maximum number of values in a filter `in` of Realtime (https://supabase.com/docs/guides/realtime/postgres-changes)."""
USER_EXISTS = "user_already_exists"
"""https://supabase.com/docs/guides/auth/debugging/error-codes"""
LOCAL_USER = ("you@example.com", "a-password-for-the-local-stack")

Row = dict[str, Any]


class _Request(Protocol):
    """A request of supabase-py that can be sent more than once."""

    async def execute(self) -> Any: ...


@dataclass(slots=True)
class FollowedRun:
    """The latest known state of a run and its sites.

    Attributes:
        run: The row of `search_runs`.
        sites: The rows of `run_sites` by site.
    """

    run: Row
    sites: dict[str, Row] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.run["status"] in FINAL_STATUSES


class User:
    """A signed-in user.

    Args:
        client: A client with the user's session.
        url: Address of the Supabase project.
        key: The API key of users.
    """

    def __init__(self, client: AsyncClient, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._key = key

    async def enqueue(
        self, kind: str, parameters: Mapping[str, Any], *, idempotency_key: str | None = None, fresh: bool = False
    ) -> Row:
        """Enqueue a search and return its run. The results of another run may have answered it already.

        Args:
            kind: The kind of search.
            parameters: The parameters, by the rules of the kind.
            idempotency_key: A second call with the same key returns the same run. Default: a new key.
            fresh: Whether to search even if a recent run of an equal search has results.

        Raises:
            postgrest.APIError: The parameters are invalid (code 22023; the message names the field), or a quota is used
                up (code PT429; the message says until when).
        """
        arguments = {
            "kind": kind,
            "parameters": dict(parameters),
            # The key makes the request idempotent, so that it can be retried.
            "idempotency_key": idempotency_key or str(uuid4()),
            "fresh": fresh,
        }
        return await self._row(self._client.rpc("enqueue_search", arguments))

    async def rerun(self, run_id: str) -> Row:
        """Enqueue the search of a run again and return the new run. Not idempotent, and not retried.

        Raises:
            postgrest.APIError: The user has no such run (code PT404), or a quota is used up (code PT429).
        """
        answer = await self._client.rpc("rerun_search", {"run_id": run_id}).execute()
        return answer.data  # type: ignore[return-value]  # the client types rows as any JSON

    async def cancel(self, run_id: str) -> Row:
        """Cancel a run and return it. A run that has ended is not changed. Idempotent.

        Raises:
            postgrest.APIError: The user has no such run (code PT404).
        """
        return await self._row(self._client.rpc("cancel_search", {"run_id": run_id}))

    async def runs(self, limit: int) -> list[Row]:
        """Return the latest runs of the user, newest first; each with its sites, as `run_sites`."""
        runs = await self._rows(
            self._client.table("search_runs").select("*").order("created_at", desc=True).limit(limit)
        )
        sites = await self._sites([run["id"] for run in runs])
        return [run | {"run_sites": sites[run["id"]]} for run in runs]

    async def items(self, run_id: str, limit: int) -> list[Row]:
        """Return the items of a run, in the order of its pages."""
        query = self._client.table("run_items").select("*").eq("run_id", run_id)
        return await self._rows(query.order("page_number").order("position").order("site").limit(limit))

    async def save_search(self, name: str, kind: str, parameters: Mapping[str, Any]) -> Row:
        """Save a search under a name, in place of the one that has the name, and return it.

        The insert of a new name is not retried: a second one would be refused.

        Raises:
            postgrest.APIError: The name or the parameters are invalid (code 22023), the user has too many (code PT429),
                or another request has just saved a search of that name (code 23505).
        """
        row = {"name": name, "kind": kind, "parameters": dict(parameters)}
        searches = self._client.table("saved_searches")
        # Not an upsert: before the conflict is found, the insert is refused because the name is in use.
        changed = await self._rows(searches.update(row).eq("name", name))
        (saved,) = changed or (await searches.insert(row).execute()).data
        return saved  # type: ignore[return-value]  # the client types rows as any JSON

    async def saved_searches(self) -> list[Row]:
        """Return the saved searches of the user with their schedules and last runs, by name."""
        return await self._rows(self._client.table("saved_search_states").select("*").order("name"))

    async def schedule(
        self, saved_search_id: str, times: Sequence[str], weekdays: Sequence[int], time_zone: str
    ) -> Row:
        """Repeat a saved search, instead of how it was repeated before, and return the schedule. Idempotent.

        Args:
            saved_search_id: Its id.
            times: Times of day, such as `08:00`.
            weekdays: 1 (Monday) to 7.
            time_zone: IANA name.

        Raises:
            postgrest.APIError: A value is invalid (code 22023; the message names it), or the user has too many (code
                PT429).
        """
        row = {
            "saved_search_id": saved_search_id,
            "times": [*times],
            "weekdays": [*weekdays],
            "time_zone": time_zone,
            "paused": None,
        }
        (schedule,) = await self._rows(self._client.table("search_schedules").upsert(row))
        return schedule

    async def unschedule(self, saved_search_id: str) -> None:
        """Stop to repeat a saved search. Idempotent."""
        await self._rows(self._client.table("search_schedules").delete().eq("saved_search_id", saved_search_id))

    async def follow(
        self, run_ids: Iterable[str], *, timing: Timing = DEFAULT_TIMING
    ) -> AsyncGenerator[dict[str, FollowedRun], None]:
        """Yield the runs by id after every change, until all have ended or are deleted.

        Changes come through Realtime, which can lose some silently, so the runs are also read from time to time. Runs
        that are deleted, or that the user may not see, are omitted.

        Args:
            run_ids: Ids of the runs.
            timing: Timeouts of the subscription, and how often the runs are read.
        """
        ids = [*dict.fromkeys(run_ids)]
        bindings = [Binding("search_runs", filter=f"id=in.({','.join(batch)})") for batch in _batches(ids)]
        followed: dict[str, FollowedRun] = {}
        live = changes(self._url, self._key, bindings, access_token=self._access_token, timing=timing)
        async with aclosing(live) as events:
            async for event in events:
                if isinstance(event, Change):
                    run_id = _run_id(event)
                    if run_id not in followed:
                        continue
                    # An event has no sites, and may lack long columns.
                    changed = {} if event.type == "DELETE" else await self._read([run_id])
                    followed = {
                        other: changed.get(other, run)
                        for other, run in followed.items()
                        if other != run_id or run_id in changed
                    }
                else:
                    former, followed = followed, await self._read(ids)
                    if isinstance(event, Recheck) and followed == former:
                        continue
                yield followed
                if all(run.is_final for run in followed.values()):
                    return

    async def _read(self, run_ids: Sequence[str]) -> dict[str, FollowedRun]:
        by_id: dict[str, FollowedRun] = {}
        # Without an end, as the subscription: an outage does not end a run.
        for batch in _batches(run_ids):
            query = self._client.table("search_runs").select("*").in_("id", batch)
            runs = await self._rows(query, patience_seconds=math.inf)
            # The sites after the runs: those of a run that has ended do not change any more.
            sites = await self._sites(batch, patience_seconds=math.inf)
            for run in runs:
                by_id[run["id"]] = FollowedRun(run, {site["site"]: site for site in sites[run["id"]]})
        return {run_id: by_id[run_id] for run_id in run_ids if run_id in by_id}

    async def _sites(
        self, run_ids: Sequence[str], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> defaultdict[str, list[Row]]:
        sites = defaultdict[str, list[Row]](list)
        for batch in _batches(run_ids):
            query = self._client.table("run_sites").select("*").in_("run_id", batch).order("position")
            for site in await self._rows(query, patience_seconds=patience_seconds):
                sites[site["run_id"]].append(site)
        return sites

    async def _row(self, request: _Request) -> Row:
        return await _answer(request, PATIENCE_SECONDS)  # type: ignore[return-value]  # one row

    async def _rows(self, request: _Request, *, patience_seconds: float = PATIENCE_SECONDS) -> list[Row]:
        return await _answer(request, patience_seconds)  # type: ignore[return-value]  # a list of rows

    async def _access_token(self) -> str:
        session = await self._client.auth.get_session()
        if session is None:
            raise SettingsError("the session has expired: sign in again")
        return session.access_token


async def _answer(request: _Request, patience_seconds: float) -> object:
    """Send an idempotent request, with retries; raise the last failure if all fail."""
    send = retrying(stop=stop_after_delay(patience_seconds), reraise=True)
    return (await send(request.execute)).data


def _batches(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(run_ids), MAX_IDS):
        yield run_ids[start : start + MAX_IDS]


def _run_id(change: Change) -> str | None:
    # Realtime sends the primary key of deleted rows to all subscribers, regardless of policies: it is a random id.
    return (change.old_record if change.type == "DELETE" else change.record).get("id")


@asynccontextmanager
async def signed_in(settings: Settings) -> AsyncIterator[User]:
    """Sign in as the user of the settings; on a local stack, as a user that is created for it.

    Raises:
        SettingsError: The key or the user is missing, or the user cannot sign in.
    """
    if settings.supabase_email and settings.supabase_password:
        email, password = settings.supabase_email, settings.supabase_password.get_secret_value()
        create = False
    elif urlsplit(settings.supabase_url).hostname in ("127.0.0.1", "localhost"):
        email, password = LOCAL_USER
        create = True
    else:
        raise SettingsError("SUPABASE_EMAIL, SUPABASE_PASSWORD: are required, to sign in as a user")
    key = settings.require("supabase_anon_key")
    async with signed_in_as(settings.supabase_url, key, email, password, create=create) as user:
        yield user


async def _sign_up(client: AsyncClient, email: str, password: str) -> None:
    try:
        await client.auth.sign_up({"email": email, "password": password})
    except AuthApiError as error:
        if error.code != USER_EXISTS:
            raise
        # Another process has just created the user, or the user exists and the password is wrong.
        await client.auth.sign_in_with_password({"email": email, "password": password})


@asynccontextmanager
async def signed_in_as(url: str, key: str, email: str, password: str, *, create: bool = False) -> AsyncIterator[User]:
    """Sign in with email and password.

    Args:
        url: Address of the Supabase project.
        key: The API key of users.
        email: The email of the user.
        password: The password of the user.
        create: Sign up if the user does not exist.

    Raises:
        SettingsError: The user cannot sign in.
        supabase_auth.errors.AuthError: The key is invalid, or the project cannot be reached.
    """
    async with open_client(url, key, timeout_seconds=REQUEST_TIMEOUT_SECONDS) as client:
        try:
            try:
                await client.auth.sign_in_with_password({"email": email, "password": password})
            except AuthApiError:
                if not create:
                    raise
                await _sign_up(client, email, password)
        except AuthApiError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:  # an invalid key; a wrong password gets 400
                raise
            raise SettingsError(f"SUPABASE_EMAIL, SUPABASE_PASSWORD: {error.message}") from None
        yield User(client, url, key)
