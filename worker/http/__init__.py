"""HTTP for sources: one client per process, which applies the same rules to every request."""

from __future__ import annotations

from worker.http.client import HttpClient, open_http
from worker.http.response import Response
from worker.http.settings import HttpSettings
from worker.http.site import SiteHttp

__all__ = ["HttpClient", "HttpSettings", "Response", "SiteHttp", "open_http"]
