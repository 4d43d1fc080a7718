"""HTTP for sources: one client per process, which applies the same rules to every request."""

from __future__ import annotations

from worker.http.client import HttpClient, open_http
from worker.http.exits import Exit
from worker.http.response import Response
from worker.http.settings import HttpSettings
from worker.http.site import SiteHttp

__all__ = ["Exit", "HttpClient", "HttpSettings", "Response", "SiteHttp", "open_http"]
