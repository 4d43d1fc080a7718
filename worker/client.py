"""What a frontend does, from Python: sign in, enqueue a search, follow it live."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from supabase import AsyncClient
from supabase_auth.errors import AuthApiError
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from worker.changes import Binding, Change, Subscribed, changes
from worker.queue import is_transient, open_client
from worker.settings import Settings, SettingsError

FINAL_STATUSES = frozenset({"success", "partial", "failed", "cancelled"})
REQUEST_TIMEOUT_SECONDS = 15
LONGEST_PAUSE_SECONDS = 10
LOCAL_USER = ("you@example.com", "a-password-for-the-local-stack")

Row = dict[str, Any]


@dataclass(slots=True)
class FollowedRun:
    """A run and its sites as they are known now.

    Attributes:
        run: The row of `search_runs`.
        sites: The rows of `search_run_sites` by site.
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
        """Put a search into the queue and return its row, which another run may have answered already.

        Args:
            kind: What to search for.
            parameters: As the kind's rules allow.
            idempotency_key: The same key again returns the same run.
            fresh: Whether a recent run of an equal search must not answer it.

        Raises:
            postgrest.APIError: The parameters were refused (code 22023), and the message names the field; or a quota is
                used up (code PT429), and the message says for how long.
        """
        arguments = {
            "kind": kind,
            "parameters": dict(parameters),
            "idempotency_key": idempotency_key,
            "fresh": fresh,
        }
        answer = await self._client.rpc("enqueue_search", arguments).execute()
        return answer.data  # type: ignore[return-value]  # the client types rows as any JSON

    async def rerun(self, run_id: str) -> Row:
        """Put the same search into the queue once more and return the new run.

        Raises:
            postgrest.APIError: The user has no such run (code PT404), or a quota is used up (code PT429).
        """
        answer = await self._client.rpc("rerun_search", {"run_id": run_id}).execute()
        return answer.data  # type: ignore[return-value]  # as above

    async def cancel(self, run_id: str) -> Row:
        """End a run at once and return it; one that has ended stays as it is.

        Raises:
            postgrest.APIError: The user has no such run (code PT404).
        """
        answer = await self._client.rpc("cancel_search", {"run_id": run_id}).execute()
        return answer.data  # type: ignore[return-value]  # as above

    async def runs(self, limit: int) -> list[Row]:
        """Return the user's last runs with their sites, newest first."""
        query = self._client.table("search_runs").select("*,search_run_sites(*)")
        query = query.order("position", foreign_table="search_run_sites").order("created_at", desc=True)
        answer = await query.limit(limit).execute()
        return answer.data  # type: ignore[return-value]  # as above

    async def items(self, run_id: str, limit: int) -> list[Row]:
        """Return what a run found, in the order of its sites' pages."""
        query = self._client.table("run_items").select("*").eq("run_id", run_id)
        answer = await query.order("page_number").order("position").order("site").limit(limit).execute()
        return answer.data  # type: ignore[return-value]  # as above

    async def follow(self, run_ids: Iterable[str]) -> AsyncGenerator[dict[str, FollowedRun], None]:
        """Yield the runs by id after every change that Realtime tells, until all have ended or are deleted.

        Runs that the user may not see, and those that are deleted, are left out.
        """
        ids = ",".join(run_ids)
        bindings = [
            Binding("search_runs", filter=f"id=in.({ids})"),
            Binding("search_run_sites", filter=f"run_id=in.({ids})"),
        ]
        followed: dict[str, FollowedRun] = {}
        async with aclosing(changes(self._url, self._key, bindings, access_token=self._access_token)) as events:
            async for event in events:
                if isinstance(event, Subscribed):
                    followed = await self._snapshot(ids.split(","))
                elif not _apply(event, followed):
                    continue
                yield followed
                if all(run.is_final for run in followed.values()):
                    return

    async def _snapshot(self, run_ids: list[str]) -> dict[str, FollowedRun]:
        rows: list[Any] = []
        # As long as it takes, as for the subscription before it: an outage is no end of a run.
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_transient),
            wait=wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE_SECONDS),
        ):
            with attempt:
                query = self._client.table("search_runs").select("*,search_run_sites(*)").in_("id", run_ids)
                rows = (await query.order("position", foreign_table="search_run_sites").execute()).data
        by_id = {
            row["id"]: FollowedRun(row, {site["site"]: site for site in row.pop("search_run_sites")}) for row in rows
        }
        return {run_id: by_id[run_id] for run_id in run_ids if run_id in by_id}

    async def _access_token(self) -> str:
        session = await self._client.auth.get_session()
        if session is None:
            raise SettingsError("the session has ended: sign in again")
        return session.access_token


def _apply(change: Change, followed: dict[str, FollowedRun]) -> bool:
    """Bring a change to the runs that are followed; return whether it was one of theirs.

    Realtime tells everybody of every deletion, whatever the filter and the policies are: its key alone.
    """
    row = change.old_record if change.type == "DELETE" else change.record
    # Of a row that is too large, Realtime may tell no more than that.
    run_id = row.get("id" if change.table == "search_runs" else "run_id")
    if run_id not in followed:
        return False
    match change.table, change.type:
        case "search_runs", "DELETE":
            del followed[run_id]
        case "search_runs", _:
            followed[run_id].run |= row
        case _, "DELETE":
            followed[run_id].sites.pop(row["site"], None)
        case _:
            followed[run_id].sites[row["site"]] = row
    return True


@asynccontextmanager
async def signed_in(settings: Settings) -> AsyncIterator[User]:
    """Sign in as the user of the settings; on a local stack, as one made for it.

    Raises:
        SettingsError: The key or the user is missing, or the user is refused.
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


@asynccontextmanager
async def signed_in_as(url: str, key: str, email: str, password: str, *, create: bool = False) -> AsyncIterator[User]:
    """Sign in with e-mail and password.

    Args:
        url: Address of the Supabase project.
        key: The API key of users.
        email: The user's e-mail.
        password: The user's password.
        create: Sign up, if there is no such user yet.

    Raises:
        SettingsError: The user is refused.
        supabase_auth.errors.AuthError: The key is refused, or the project cannot be reached.
    """
    async with open_client(url, key, timeout_seconds=REQUEST_TIMEOUT_SECONDS) as client:
        try:
            try:
                await client.auth.sign_in_with_password({"email": email, "password": password})
            except AuthApiError:
                if not create:
                    raise
                await client.auth.sign_up({"email": email, "password": password})
        except AuthApiError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:  # the gateway's answer to a wrong key; a wrong user gets 400
                raise
            raise SettingsError(f"SUPABASE_EMAIL, SUPABASE_PASSWORD: {error.message}") from None
        yield User(client, url, key)
