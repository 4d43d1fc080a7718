"""The control endpoint: sets failures and shows requests, over plain HTTP on the proxy's port."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from pydantic import ValidationError

from worker.local.boards.exits import ExitRule, ExitRules
from worker.local.boards.failures import FailurePlan, FailurePlans
from worker.local.boards.http import Request, Response
from worker.local.boards.request_log import RequestLog
from worker.local.boards.sites import SITES, check_site

_USAGE = (
    "PUT, DELETE /control/failures/{site}; GET, DELETE /control/failures; PUT, DELETE /control/exits/{site}; "
    "GET /control/exits; GET, DELETE /control/requests"
)


def control(request: Request, failures: FailurePlans, exits: ExitRules, log: RequestLog) -> Response:
    """Carry out a request to the control endpoint, and answer with the current failures, rules of exits or requests."""
    match request.path.strip("/").split("/"):
        case ["control", "failures"]:
            return _all_failures(request, failures)
        case ["control", "failures", site]:
            return _failure(request, failures, site)
        case ["control", "exits"] if request.method == "GET":
            return _current_exits(exits)
        case ["control", "exits", site]:
            return _exit_rule(request, exits, site)
        case ["control", "requests"]:
            return _requests(request, log)
        case _:
            return _error(HTTPStatus.NOT_FOUND, _USAGE)


def _all_failures(request: Request, failures: FailurePlans) -> Response:
    match request.method:
        case "GET":
            pass
        case "DELETE":
            failures.cancel(*SITES)
        case _:
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, _USAGE)
    return _current(failures)


def _failure(request: Request, failures: FailurePlans, site: str) -> Response:
    try:
        match request.method:
            case "PUT":
                plan = FailurePlan.model_validate_json(request.body)
                check_site(site)
                failures.set(site, plan)
            case "DELETE":
                check_site(site)
                failures.cancel(site)
            case _:
                return _error(HTTPStatus.METHOD_NOT_ALLOWED, _USAGE)
    except ValidationError as error:
        return _error(HTTPStatus.BAD_REQUEST, *_messages(error))
    except ValueError as error:
        return _error(HTTPStatus.NOT_FOUND, str(error))
    return _current(failures)


def _exit_rule(request: Request, exits: ExitRules, site: str) -> Response:
    try:
        match request.method:
            case "PUT":
                rule = ExitRule.model_validate_json(request.body)
                check_site(site)
                exits.set(site, rule)
            case "DELETE":
                check_site(site)
                exits.cancel(site)
            case _:
                return _error(HTTPStatus.METHOD_NOT_ALLOWED, _USAGE)
    except ValidationError as error:
        return _error(HTTPStatus.BAD_REQUEST, *_messages(error))
    except ValueError as error:
        return _error(HTTPStatus.NOT_FOUND, str(error))
    return _current_exits(exits)


def _current_exits(exits: ExitRules) -> Response:
    return Response.json({site: rule.model_dump(mode="json") for site, rule in exits.current().items()})


def _current(failures: FailurePlans) -> Response:
    return Response.json({site: plan.model_dump(mode="json") for site, plan in failures.current().items()})


def _requests(request: Request, log: RequestLog) -> Response:
    match request.method:
        case "GET":
            pass
        case "DELETE":
            log.clear()
        case _:
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, _USAGE)
    sites = {
        site: {
            "count": len(requests),
            "paths": [request.path for request in requests],
            "at": [request.at for request in requests],
            "exits": [request.exit for request in requests],
        }
        for site, requests in log.by_site().items()
    }
    return Response.json({"sites": sites, "refused": log.refused})


def _error(status: HTTPStatus, *messages: str) -> Response:
    return Response.json({"errors": messages}, status)


def _messages(error: ValidationError) -> Sequence[str]:
    return [f"{'.'.join(map(str, part['loc'])) or 'body'}: {part['msg']}" for part in error.errors()]
