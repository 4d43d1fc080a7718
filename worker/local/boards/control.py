"""The control endpoint: failures are ordered, and requests read, over plain HTTP on the proxy's port."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from worker.local.boards.failures import FailurePlan
from worker.local.boards.messages import Request, Response

if TYPE_CHECKING:
    from worker.local.boards.server import Boards

_USAGE = "PUT, DELETE /control/failures/{site}; GET, DELETE /control/failures; GET, DELETE /control/requests"


def control(boards: Boards, request: Request) -> Response:
    """Carry out a request to the control endpoint, and answer with the failures or the requests that stand."""
    match request.path.strip("/").split("/"):
        case ["control", "failures", *site] if len(site) <= 1:
            return _failures(boards, request, *site)
        case ["control", "requests"]:
            return _requests(boards, request)
        case _:
            return _error(HTTPStatus.NOT_FOUND, _USAGE)


def _failures(boards: Boards, request: Request, site: str | None = None) -> Response:
    try:
        match request.method, site:
            case "GET", None:
                pass
            case "PUT", str():
                boards.order(site, FailurePlan.model_validate_json(request.body))
            case "DELETE", _:
                boards.heal(site)
            case _:
                return _error(HTTPStatus.METHOD_NOT_ALLOWED, _USAGE)
    except ValidationError as error:
        return _error(HTTPStatus.BAD_REQUEST, *_messages(error))
    except ValueError as error:
        return _error(HTTPStatus.NOT_FOUND, str(error))
    return Response.json({name: plan.model_dump(mode="json") for name, plan in boards.current_failures().items()})


def _requests(boards: Boards, request: Request) -> Response:
    match request.method:
        case "GET":
            pass
        case "DELETE":
            boards.forget_requests()
        case _:
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, _USAGE)
    answer: dict[str, Any] = {"sites": {}, "refused": boards.refused}
    for site in boards.sites:
        asked = boards.requests(site)
        answer["sites"][site] = {
            "count": len(asked),
            "paths": [request.path for request in asked],
            "at": [request.at for request in asked],
        }
    return Response.json(answer)


def _error(status: HTTPStatus, *messages: str) -> Response:
    return Response.json({"errors": messages}, status)


def _messages(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, part['loc'])) or 'body'}: {part['msg']}" for part in error.errors()]
