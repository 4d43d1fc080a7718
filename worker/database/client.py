"""A Supabase client with timeouts, and which of its failures are retried."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import httpx
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from worker.errors import CallRefusedError, DatabaseUnreachableError, LeaseLostError
from worker.http.statuses import is_transient as is_transient_status

logger = logging.getLogger(__name__)

MAX_RETRY_PAUSE_SECONDS = 10

LEASE_LOST = "PT409"
FAILURES = ("cancelled", "lease_lost", "refused", "unavailable", "unreachable")
"""What `failure_of` returns, and `cancelled` for a call that its caller ended."""

# PostgREST answers so when a connection of its pool to Postgres was closed without a message.
CONNECTION_DIED = ""


# supabase-py does not report the status of an error, and an error of the gateway has no code in its body.
_last_status: ContextVar[int | None] = ContextVar("_last_status", default=None)


@asynccontextmanager
async def open_client(url: str, key: str, *, timeout_seconds: float) -> AsyncIterator[AsyncClient]:
    """Open a Supabase client without a stored session. At the end all of its connections are closed.

    Args:
        url: Address of the Supabase project.
        key: API key: a JWT, or an `sb_...` key.
        timeout_seconds: Timeout of one request, from its first byte to the last byte of its answer.
    """
    # HTTP/2 stays off: the platform's load balancer ends idle streams, which surfaces as "Server disconnected".
    hooks = {"response": [_note_status]}
    async with _Client(timeout=timeout_seconds, http2=False, event_hooks=hooks) as http:
        client = await acreate_client(
            url, key, AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        )
        try:
            yield client
        finally:
            await client.realtime.close()


class _Client(httpx.AsyncClient):
    """Limits the duration of a whole request: the timeouts of httpx restart with each byte."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        seconds = self.timeout.read
        try:
            async with asyncio.timeout(seconds):
                return await super().send(request, **options)
        except TimeoutError:
            raise httpx.ReadTimeout(f"not answered within {seconds:g} s", request=request) from None


def is_transient(error: BaseException) -> bool:
    """Whether a retry of the same request may succeed.

    Args:
        error: What a client of `open_client` raised, in the task that sent the request.
    """
    if isinstance(error, APIError):
        # PostgREST answers 5xx for lost connections, deadlocks and statement timeouts.
        return error.code == CONNECTION_DIED or is_transient_status(_last_status.get() or 0)
    return isinstance(error, httpx.TransportError)


def failure_of(error: BaseException) -> str:
    """Return how an attempt failed, in one word.

    Args:
        error: What a client of `open_client` raised, in the task that sent the request.

    Returns:
        `lease_lost`; `refused`: a retry would be refused as well; `unavailable`: the platform or the database answered
        with a transient error; `unreachable`: no answer arrived.
    """
    if not isinstance(error, APIError):
        return "unreachable"
    if error.code == LEASE_LOST:
        return "lease_lost"
    return "unavailable" if is_transient(error) else "refused"


async def _note_status(response: httpx.Response) -> None:
    _last_status.set(response.status_code)
    content_type = response.headers.get("content-type", "application/json")
    if response.is_success and "json" not in content_type:
        raise httpx.RemoteProtocolError(f"the answer is {content_type}, not JSON: this is not a Supabase API")


def retrying(**options: Any) -> AsyncRetrying:
    """Return a loop that retries transient failures, with exponential backoff and jitter.

    Args:
        options: Further options of `tenacity.AsyncRetrying`, such as when to stop. By default it never stops.
    """
    wait = wait_random_exponential(multiplier=0.2, max=MAX_RETRY_PAUSE_SECONDS)
    return AsyncRetrying(retry=retry_if_exception(is_transient), wait=wait, **options)


async def call(
    client: AsyncClient,
    function: str,
    arguments: Mapping[str, Any],
    *,
    patience_seconds: float,
    attempt_in: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> Any:
    """Call an idempotent RPC. Transient failures are retried.

    Args:
        client: A client that `open_client` opened.
        function: Name of the function.
        arguments: Its arguments by name.
        patience_seconds: For how long to retry.
        attempt_in: Makes, from the name of the function, a context in which one attempt is sent.

    Returns:
        The answer of the function, decoded from JSON.

    Raises:
        LeaseLostError: The lease of the call is no longer valid.
        CallRefusedError: The database refused the call.
        DatabaseUnreachableError: No answer came in time.
    """
    try:
        async with asyncio.timeout(patience_seconds):
            async for attempt in retrying(before_sleep=partial(_log_retry, function)):
                _last_status.set(None)
                with attempt, attempt_in(function):
                    return (await client.rpc(function, dict(arguments)).execute()).data
    except TimeoutError:
        raise DatabaseUnreachableError(f"{function}: not answered within {patience_seconds:g} s") from None
    except APIError as error:
        if error.code == LEASE_LOST:
            raise LeaseLostError(error.message) from None
        status = _last_status.get()
        message = f"{function}: {error.code or status} {error.message}"
        raise CallRefusedError(message, status=status, code=error.code) from error
    raise AssertionError("unreachable: an attempt returns, raises or is retried")


def _log_retry(function: str, state: RetryCallState) -> None:
    assert state.outcome is not None
    assert state.next_action is not None
    error = state.outcome.exception()
    if isinstance(error, APIError):
        reason = error.message or "the connection to the database was lost"
    else:
        reason = f"{type(error).__name__} {error}"
    logger.warning("%s failed (%s), retry in %.1f s", function, reason, state.next_action.sleep)
