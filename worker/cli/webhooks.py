"""The commands `webhooks`: add, list and remove endpoints, rotate their secrets, test them, and replay messages."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from rich.table import Table

from worker.cli.terminal import cell, local_time, open_console
from worker.cli.usage import WrongUseError, refusal_in_words
from worker.database.queue import Queue, open_queue
from worker.engine.webhooks import send
from worker.errors import CallRefusedError, QueueError
from worker.http import HttpSettings
from worker.http.webhooks import UndeliveredError, open_webhook_http
from worker.model import Json
from worker.printable import complain, printable_json, say
from worker.settings import MAX_SECRETS, WEBHOOK_SECRET_PREFIX, Settings

EXIT_FAILURE = 1
EXIT_USAGE = 2
WRONG_ARGUMENT = "22023"

TEST_EVENT = "webhook.test"

SECRET_BYTES = 32
REPLAY_BATCH = 1000
DEAD_SHOWN = 100


def new_secret() -> str:
    """Return a new secret of an endpoint."""
    return WEBHOOK_SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def add(settings: Settings, name: str, url: str, events: Sequence[str], description: str | None) -> int:
    """Add an endpoint, or change the one of that name; return the exit code.

    A secret is made and printed if the environment has none for the endpoint. The database does not get it.
    """

    async def command(queue: Queue) -> int:
        await queue.add_webhook(name, url, events, description)
        if name not in settings.webhook_secrets_by_endpoint():
            say(f"{name}={new_secret()}")
            complain(
                "Add this line to WORKER_WEBHOOK_SECRETS of each worker, and give the secret to the receiver. "
                "It is not stored: keep it now."
            )
        return 0

    return await _with_queue(settings, command)


async def rotate(settings: Settings, name: str) -> int:
    """Make and print a second secret of an endpoint; return the exit code."""

    async def command(queue: Queue) -> int:
        await _endpoint(queue, name)
        if len(settings.webhook_secrets_by_endpoint().get(name, ())) >= MAX_SECRETS:
            raise WrongUseError(f"{name} has {MAX_SECRETS} secrets: remove the old one first")
        say(f"{name}={new_secret()}")
        complain(
            "1. Add it to WORKER_WEBHOOK_SECRETS of each worker, beside the entry that is there: messages are signed "
            "with both.\n2. Give it to the receiver.\n3. Remove the old entry."
        )
        return 0

    return await _with_queue(settings, command)


async def remove(settings: Settings, name: str) -> int:
    """Remove an endpoint with its messages; return the exit code."""

    async def command(queue: Queue) -> int:
        if not await queue.remove_webhook(name):
            raise WrongUseError(f"there is no webhook endpoint {name!r}")
        return 0

    return await _with_queue(settings, command)


async def list_endpoints(settings: Settings, name: str | None, *, as_json: bool) -> int:
    """Print the endpoints, or only the one of a name; return the exit code."""

    async def command(queue: Queue) -> int:
        endpoints = await queue.webhooks() if name is None else [await _endpoint(queue, name)]
        known = settings.webhook_secrets_by_endpoint()
        if as_json:
            for endpoint in endpoints:
                say(printable_json(endpoint | {"secrets": len(known.get(str(endpoint["name"]), ()))}))
            return 0
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for heading in ("Name", "URL", "Events", "State", "Waiting", "Dead", "Delivered", "Last error"):
            table.add_column(heading, justify="right" if heading in ("Waiting", "Dead") else "left")
        for endpoint in endpoints:
            events = endpoint["events"]
            assert isinstance(events, list)
            state = endpoint["disabled_reason"] or ("enabled" if endpoint["name"] in known else "no secret here")
            delivered = endpoint["last_delivered_at"]
            table.add_row(
                cell(endpoint["name"]),
                cell(endpoint["url"]),
                cell(" ".join(map(str, events))),
                cell(state),
                cell(endpoint["waiting"]),
                cell(endpoint["dead"]),
                cell(local_time(str(delivered)) if delivered else ""),
                cell(endpoint["last_error"] or ""),
            )
        open_console().print(table)
        return 0

    return await _with_queue(settings, command)


async def list_dead(settings: Settings, name: str | None, *, as_json: bool) -> int:
    """Print the newest messages whose attempts have all failed; return the exit code."""

    async def command(queue: Queue) -> int:
        if name is not None:
            await _endpoint(queue, name)
        messages = await queue.dead_webhooks(name, DEAD_SHOWN)
        if as_json:
            for message in messages:
                say(printable_json(message))
            return 0
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for heading in ("Message", "Endpoint", "Event", "Written", "Attempts", "Last error"):
            table.add_column(heading, no_wrap=heading == "Message")
        for message in messages:
            table.add_row(
                *map(cell, (message["id"], message["endpoint"], message["event"])),
                cell(local_time(str(message["created_at"]))),
                cell(message["attempts"]),
                cell(message["error"] or ""),
            )
        open_console().print(table)
        return 0

    return await _with_queue(settings, command)


async def replay(settings: Settings, name: str, message: UUID | None) -> int:
    """Send dead messages of an endpoint again, or one message; print how many, and return the exit code."""

    async def command(queue: Queue) -> int:
        replayed = batch = await queue.replay_webhooks(name, message)
        while batch == REPLAY_BATCH:
            batch = await queue.replay_webhooks(name, message)
            replayed += batch
        say(f"Messages that a worker sends again: {replayed}")
        return 0 if replayed or message is None else EXIT_FAILURE

    return await _with_queue(settings, command)


async def test(settings: Settings, http: HttpSettings, name: str) -> int:
    """Send a message `webhook.test` to an endpoint from here; return the exit code."""

    async def command(queue: Queue) -> int:
        url = str((await _endpoint(queue, name))["url"])
        known = settings.webhook_secrets_by_endpoint()
        if name not in known:
            raise WrongUseError(f"WORKER_WEBHOOK_SECRETS has no secret of {name}")
        payload: Json = {"type": TEST_EVENT, "timestamp": datetime.now(UTC).isoformat(), "data": {"endpoint": name}}
        async with open_webhook_http(http, allow_private=settings.webhooks_allow_private) as client:
            try:
                await send(client, url, known[name], uuid4(), payload)
            except UndeliveredError as error:
                complain(f"{name}: {error.reason}")
                return EXIT_FAILURE
        say(f"{name}: accepted")
        return 0

    return await _with_queue(settings, command)


async def _endpoint(queue: Queue, name: str) -> dict[str, Json]:
    """Return an endpoint by its name.

    Raises:
        WrongUseError: There is none.
    """
    for endpoint in await queue.webhooks():
        if endpoint["name"] == name:
            return endpoint
    raise WrongUseError(f"there is no webhook endpoint {name!r}")


async def _with_queue(settings: Settings, command: Callable[[Queue], Awaitable[int]]) -> int:
    try:
        async with open_queue(settings) as queue:
            return await command(queue)
    except WrongUseError as error:
        complain(str(error))
        return EXIT_USAGE
    except QueueError as error:
        if isinstance(error, CallRefusedError) and error.code == WRONG_ARGUMENT:
            complain(f"Refused: {refusal_in_words(error)}")
            return EXIT_USAGE
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE
