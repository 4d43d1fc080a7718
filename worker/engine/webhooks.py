"""The chore that sends events to the webhook endpoints of the operator."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from standardwebhooks import Webhook

from worker.database.answers import AttemptResult, WebhookMessage
from worker.database.queue import Queue
from worker.http import HttpSettings
from worker.http.webhooks import TIMEOUT_SECONDS, UndeliveredError, WebhookHttp, open_webhook_http
from worker.model import Json
from worker.settings import Settings

logger = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 4
"""Maximum number of concurrent requests to one endpoint."""
IDLE_SECONDS = 10
"""Pause while nothing is known to be due: other workers and pg_cron write messages, too, and do not notify this one."""
BUSY_SECONDS = 2
"""The same while requests are running."""
CLOSE_SECONDS = 2
"""How long running requests may take after a stop."""
FINISH_SECONDS = TIMEOUT_SECONDS + 5
"""The same for a worker that ends by itself: a whole attempt, and saving its result."""


def signed_headers(secrets: Sequence[str], message_id: str, body: str) -> dict[str, str]:
    """Return the headers of an attempt, as Standard Webhooks specifies them.

    Args:
        secrets: The secrets of the endpoint, each `whsec_` and base64. The message is signed with each of them.
        message_id: The `webhook-id`: the same in each attempt.
        body: The body, exactly as it is sent.
    """
    now = datetime.now(UTC)
    signatures = [Webhook(secret).sign(message_id, now, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def send(http: WebhookHttp, url: str, secrets: Sequence[str], message_id: UUID, payload: Json) -> None:
    """Sign a message and send it once.

    Args:
        http: The client.
        url: The address of the receiver.
        secrets: See `signed_headers`.
        message_id: The id of the message.
        payload: The message.

    Raises:
        UndeliveredError: The receiver did not accept the message.
    """
    body = json.dumps(payload, separators=(",", ":"))
    await http.post(url, signed_headers(secrets, f"msg_{message_id}", body), body.encode())


class Delivering:
    """Sends the messages that are due. Each endpoint is served apart from the others, so that a slow one delays none.

    Use `open_delivering` to create it.

    Args:
        queue: The queue.
        http: The client.
        secrets: The secrets of each endpoint by its name. Messages of other endpoints are left to other workers.
    """

    def __init__(self, queue: Queue, http: WebhookHttp, secrets: Mapping[str, Sequence[str]]) -> None:
        self._queue = queue
        self._http = http
        self._secrets = secrets
        self._serving: dict[str, asyncio.Task[None]] = {}

    async def __call__(self) -> float:
        """Begin to send what is due to endpoints that are not being served; return the seconds until the next call.

        While requests are running, the call returns after the first endpoint has been served.
        """
        pause_seconds = await self._begin()
        if not self._serving:
            return min(pause_seconds, IDLE_SECONDS)
        await asyncio.wait(
            self._serving.values(),
            timeout=min(pause_seconds, BUSY_SECONDS),
            return_when=asyncio.FIRST_COMPLETED,
        )
        self._take_ended()
        return 0

    async def finish(self) -> float:
        """Wait until the running requests have ended; begin none. Return the seconds until the next call."""
        if self._serving:
            await asyncio.wait(self._serving.values())
            self._take_ended()
        return IDLE_SECONDS

    async def close(self) -> None:
        """Give running requests a moment to end, then cancel them: another worker sends these messages again."""
        if self._serving:
            await asyncio.wait(self._serving.values(), timeout=CLOSE_SECONDS)
        for task in self._serving.values():
            task.cancel()
        await asyncio.gather(*self._serving.values(), return_exceptions=True)

    def _take_ended(self) -> None:
        """Forget the endpoints that have been served; raise the first error after the others are logged."""
        ended = [self._serving.pop(endpoint) for endpoint, task in [*self._serving.items()] if task.done()]
        errors = [error for task in ended if (error := task.exception()) is not None]
        for error in errors[1:]:
            logger.error("Results of webhooks are lost: %s", error)
        if errors:
            raise errors[0]

    async def _begin(self) -> float:
        free = self._secrets.keys() - self._serving.keys()
        if not free:
            return IDLE_SECONDS
        claimed = await self._queue.claim_webhooks(free, REQUESTS_AT_ONCE)
        messages: defaultdict[str, list[WebhookMessage]] = defaultdict(list)
        for message in claimed.messages:
            messages[message.endpoint].append(message)
        for endpoint, due in messages.items():
            self._serving[endpoint] = asyncio.create_task(self._serve(endpoint, due, claimed.mark))
        return IDLE_SECONDS if claimed.due_in_seconds is None else claimed.due_in_seconds

    async def _serve(self, endpoint: str, messages: Sequence[WebhookMessage], mark: str) -> None:
        results = await asyncio.gather(*map(self._attempt, messages))
        saved = await self._queue.save_webhooks(mark, results)
        failures = [result.error for result in results if result.error is not None]
        if failures:
            logger.warning("Webhook %s: %d of %d failed: %s", endpoint, len(failures), len(results), failures[0])
        if saved.dead:
            logger.error("Webhook %s: %d messages are dead: all attempts have failed", endpoint, saved.dead)
        for name in saved.disabled:
            logger.error("Webhook %s is disabled: the receiver answered 410 Gone", name)

    async def _attempt(self, message: WebhookMessage) -> AttemptResult:
        try:
            await send(self._http, message.url, self._secrets[message.endpoint], message.id, message.payload)
        except UndeliveredError as error:
            return AttemptResult(message.id, error.reason, error.is_gone, error.retry_after_seconds)
        except Exception:
            # The messages of the other endpoints must not wait for this one.
            logger.exception("Webhook %s: the message %s cannot be sent", message.endpoint, message.id)
            return AttemptResult(message.id, "internal error: see the log of the worker")
        return AttemptResult(message.id)


@asynccontextmanager
async def open_delivering(settings: Settings, http: HttpSettings, queue: Queue) -> AsyncIterator[Delivering | None]:
    """Open the chore, and end its requests on exit.

    Args:
        settings: The secrets of the endpoints.
        http: Certificates and the `User-Agent`.
        queue: The queue.

    Yields:
        The chore; None if the worker has no secrets of endpoints.
    """
    secrets = settings.webhook_secrets_by_endpoint()
    if not secrets:
        yield None
        return
    async with open_webhook_http(http, allow_private=settings.webhooks_allow_private) as client:
        delivering = Delivering(queue, client, secrets)
        try:
            yield delivering
        finally:
            await delivering.close()
