"""Broadcasts by HTTP: what a client sends without a WebSocket.

The paths and answers follow https://github.com/supabase/realtime (2.129, `batch_broadcast.ex`, `single_broadcast.ex`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from worker.local.supabase.realtime.broadcasts import Broadcast, Topics
from worker.local.supabase.realtime.errors import RefusedError, TokenRefusedError
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.socket import extra_headers

logger = logging.getLogger(__name__)

_BATCH = "/api/broadcast"
_JSON, _BYTES = "application/json", "application/octet-stream"
_ACCEPTED, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _UNSUPPORTED, _UNPROCESSABLE = 202, 400, 401, 403, 415, 422


class Publisher(Protocol):
    """Checks tokens and policies, and knows the joined channels."""

    topics: Topics

    def identify(self, token: str) -> Identity:
        """Return the identity of a token."""

    async def may_write(self, name: str, identity: Identity, headers: Mapping[str, str]) -> bool:
        """Return whether an identity may send to the private channels of a topic."""


class _HttpError(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.response = JSONResponse(body, status)


def broadcast_routes(publisher: Publisher) -> list[BaseRoute]:
    """Return the routes below `/realtime/v1`."""

    def route(path: str, answer: Callable[[Publisher, Request, Identity], Awaitable[None]]) -> Route:
        async def handle(request: Request) -> Response:
            try:
                identity = publisher.identify(request.headers["authorization"].partition(" ")[2])
                await answer(publisher, request, identity)
            except TokenRefusedError:
                return JSONResponse({"message": "Unauthorized"}, _UNAUTHORIZED)
            except RefusedError as error:
                return JSONResponse({"message": str(error)}, _UNPROCESSABLE)
            except _HttpError as error:
                return error.response
            return Response(status_code=_ACCEPTED)

        return Route(path, handle, methods=["POST"])

    return [route(_BATCH, _send_batch), route(f"{_BATCH}/{{topic:path}}/events/{{event:path}}", _send_one)]


async def _send_batch(publisher: Publisher, request: Request, identity: Identity) -> None:
    document = await _document(request)
    messages = document.get("messages") if isinstance(document, dict) else None
    if not messages:
        raise _HttpError(_UNPROCESSABLE, {"errors": {"messages": ["can't be blank"]}})
    if not isinstance(messages, list):
        raise _HttpError(_UNPROCESSABLE, {"errors": {"messages": ["is invalid"]}})
    errors = [_errors(message) for message in messages]
    if any(errors):
        raise _HttpError(_UNPROCESSABLE, {"errors": {"messages": errors}})
    allowed: dict[str, bool] = {}
    for message in messages:
        topic, is_private = message["topic"], message.get("private") is True
        if is_private and topic not in allowed:
            allowed[topic] = await publisher.may_write(topic, identity, extra_headers(request.headers))
        if is_private and not allowed[topic]:
            # The platform accepts it, too.
            logger.warning("left out a broadcast on %s: no policy on realtime.messages allows it", topic)
            continue
        whole = {"event": message["event"], "payload": message["payload"], "type": "broadcast"}
        if "id" in message:
            whole["meta"] = {"id": message["id"]}
        publisher.topics.send(topic, Broadcast("broadcast", "", whole=json.dumps(whole)), is_private=is_private)


def _errors(message: Any) -> dict[str, list[str]]:
    """Return what is wrong with a message of a batch, by field."""
    if not isinstance(message, dict):
        return {"message": ["is invalid"]}
    types = {"topic": str, "event": str, "payload": dict}
    missing = {name: ["can't be blank"] for name in types if message.get(name) in (None, "")}
    wrong = {name: ["is invalid"] for name, kind in types.items() if not isinstance(message.get(name), kind)}
    if not isinstance(message.get("private", False), bool | None):
        wrong["private"] = ["is invalid"]
    return wrong | missing


async def _send_one(publisher: Publisher, request: Request, identity: Identity) -> None:
    topic, event = request.path_params["topic"], request.path_params["event"]
    content_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    payload: str | bytes
    if content_type == _BYTES:
        payload = await request.body()
    elif content_type == _JSON:
        document = await _document(request)
        payload = json.dumps(document if isinstance(document, dict) else {"_json": document})
    else:
        message = f"Unsupported Media Type. Use {_JSON} or {_BYTES}"
        raise _HttpError(_UNSUPPORTED, {"error": message})
    is_private = request.query_params.get("private") == "true"
    if is_private and not await publisher.may_write(topic, identity, extra_headers(request.headers)):
        raise _HttpError(_FORBIDDEN, {"message": "Unauthorized"})
    if "persist" in str(request.query_params):
        raise _HttpError(_UNPROCESSABLE, {"message": "the local stack does not know the parameter persist"})
    publisher.topics.send(topic, Broadcast(event, payload), is_private=is_private)


async def _document(request: Request) -> Any:
    try:
        return json.loads(await request.body() or b"{}", parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _HttpError(_BAD_REQUEST, {"message": "Bad Request"}) from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
