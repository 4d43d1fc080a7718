"""Which HTTP statuses are worth a retry."""

from __future__ import annotations

from http import HTTPStatus

_TRANSIENT_CLIENT_ERRORS = frozenset({
    HTTPStatus.REQUEST_TIMEOUT,  # RFC 9110, 15.5.9
    HTTPStatus.TOO_EARLY,  # RFC 8470, 5.2
    HTTPStatus.TOO_MANY_REQUESTS,  # RFC 6585, 4
})  # fmt: skip


def is_transient(status: int) -> bool:
    """Whether an API that answered with this status may accept the same request later."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT_CLIENT_ERRORS
