"""Supabase-native worker for long-running searches.

The names in `__all__` and those of `worker.testing` are the public interface; everything else may change in any
release. They are imported on first use: `import worker` alone loads no dependency, because the child processes in which
scrapers run import this package as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.engine.reprocess import Reprocessed
    from worker.engine.worker import Worker
    from worker.errors import (
        BrokenSourceError,
        CallRefusedError,
        DatabaseUnreachableError,
        ErrorCode,
        InvalidItemError,
        LeaseLostError,
        QueueError,
        SettingsError,
        SiteError,
        SiteWaitingError,
        VersionMismatchError,
        WorkerError,
    )
    from worker.http.permits import Permits
    from worker.http.response import Response
    from worker.http.settings import HttpSettings
    from worker.http.site import SiteHttp
    from worker.model import Item, Json, Observed, Organization, Page, Parameters, Place, Progress, SiteLimits
    from worker.settings import ApiKey, EnvironmentSettings, Settings
    from worker.sources import Search, Source
    from worker.sources.parameters import JobParameters, SearchParameters
    from worker.version import __version__

__all__ = [
    "ApiKey",
    "BrokenSourceError",
    "CallRefusedError",
    "DatabaseUnreachableError",
    "EnvironmentSettings",
    "ErrorCode",
    "HttpSettings",
    "InvalidItemError",
    "Item",
    "JobParameters",
    "Json",
    "LeaseLostError",
    "Observed",
    "Organization",
    "Page",
    "Parameters",
    "Permits",
    "Place",
    "Progress",
    "QueueError",
    "Reprocessed",
    "Response",
    "Search",
    "SearchParameters",
    "Settings",
    "SettingsError",
    "SiteError",
    "SiteHttp",
    "SiteLimits",
    "SiteWaitingError",
    "Source",
    "VersionMismatchError",
    "Worker",
    "WorkerError",
    "__version__",
]

# The modules that the names come from, in the order in which one imports the other.
_MODULES = (
    "version", "errors", "model", "settings", "http.permits", "http.response", "http.settings", "http.site",
    "sources.parameters", "sources", "engine.reprocess", "engine.worker",
)  # fmt: skip


if not TYPE_CHECKING:  # where it exists, type checkers accept every name

    def __getattr__(name: str) -> Any:
        if name in __all__:
            for module in _MODULES:
                found = getattr(import_module(f"{__name__}.{module}"), name, None)
                if found is not None:
                    globals()[name] = found
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
