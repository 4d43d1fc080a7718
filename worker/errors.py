"""The errors that users of this library may catch, below one base class."""

from __future__ import annotations

from enum import StrEnum

from worker.printable import one_line


class ErrorCode(StrEnum):
    """Why a site failed. Database and frontends use the same values."""

    INVALID_PARAMETERS = "invalid_parameters"
    BLOCKED = "blocked"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    NETWORK = "network"
    NOT_FOUND = "not_found"
    UNVERIFIED = "unverified"
    UNAUTHORIZED = "unauthorized"
    QUOTA_EXCEEDED = "quota_exceeded"
    UPSTREAM = "upstream"
    INTERNAL = "internal"

    @property
    def retryable(self) -> bool:
        """Whether a retry of the same search may succeed."""
        return self not in (ErrorCode.INVALID_PARAMETERS, ErrorCode.NOT_FOUND, ErrorCode.UNAUTHORIZED)


class WorkerError(Exception):
    """Base class of all errors that this library raises for its users to catch."""


class SiteError(WorkerError):
    """The search of a site failed, at its start or after some pages.

    Args:
        code: Why it failed.
        message: The reason as a sentence, for the operator who reads the log and the events; kept as `one_line`.
            Without secrets. Users read the sentence of `worker.messages` for the code. It has the reason as well if
            the user can put it right: with `INVALID_PARAMETERS`, `NOT_FOUND` and `UNAUTHORIZED`.
        is_final: Whether a retry would fail as well; default: not `code.retryable`.
        retry_after_seconds: Seconds until the site accepts the next request, if it says so.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        is_final: bool | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.code = code
        self.message = one_line(message)
        self.is_final = not code.retryable if is_final is None else is_final
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.message)


class ExitError(SiteError):
    """An exit failed, and not the site: the proxy is dead, refuses the password, or breaks TLS.

    Args:
        message: The reason as a sentence, for the operator. Without secrets.
    """

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.NETWORK, message)


class InvalidItemError(WorkerError, ValueError):
    """A record of a page is not a valid item.

    Args:
        message: What is wrong.
        field: The invalid field, if it is one field.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class UnknownBoardError(WorkerError, ValueError):
    """Content of a site does not say which board it comes from."""


class SiteWaitingError(WorkerError):
    """A site must not be asked now: its search is deferred, and the run's other sites are searched meanwhile.

    Args:
        reason: Why, in one line for the operator.
        retry_in_seconds: When the search may be retried.
    """

    def __init__(self, reason: str, retry_in_seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_in_seconds = retry_in_seconds


class QueueError(WorkerError):
    """A call of the database did not succeed."""


class LeaseLostError(QueueError):
    """This worker does not hold the run's lease any more: the run was cancelled, or the lease expired."""


class CallRefusedError(QueueError):
    """The database refused a call; a retry would be refused as well.

    Args:
        message: What was refused, and why.
        status: HTTP status of the answer.
        code: PostgREST's code (`PGRST...`) or a SQLSTATE; None where the gateway refused before either of them.
    """

    def __init__(self, message: str, *, status: int | None, code: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class VersionMismatchError(CallRefusedError):
    """The database is older than this worker, or newer by more than one version. The message has both versions."""


class DatabaseUnreachableError(QueueError):
    """The database could not be reached, and the retries have ended."""


class SettingsError(WorkerError):
    """A setting is missing or wrong, or unknown. The message has a line for each, with its name as it was given."""


class BrokenSourceError(SettingsError):
    """A source cannot be used. The message names it, and the distribution that an installed one belongs to."""
