"""The metrics of a worker, for Prometheus. Needs the extra `metrics`.

Names and labels follow https://prometheus.io/docs/practices/naming/. The values of each label are known in advance:
functions, chores, outcomes, error codes, and the sites that this worker can search. No label names a user or a run.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from worker.database.answers import AttemptResult, SavedAttempts, SavedPage
from worker.engine.observer import Observer, RunOutcome
from worker.engine.spool import Spool
from worker.model import FoundPage, Run
from worker.version import __version__

PREFIX = "search_worker"
PAGE_SECONDS = 1
"""For how long an answer is given again: anyone who reaches the port may ask at any rate."""
OTHER = "other"
"""Label of what this worker does not know."""

RUN_BUCKETS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
PAGE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
WAIT_BUCKETS = (0.001, 0.1, 0.5, 1, 2.5, 5, 10, 30)
CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class _WithoutCreated:
    """A registry without the time at which each series began: it doubles the text, and Prometheus does not need it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics(Observer):
    """Counts what happens in a worker. The attribute `content_type` is that of its page.

    Args:
        kinds: The kinds that the worker can search.
        sites: The sites that it can search.
        spool: Its spool.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, kinds: Iterable[str], sites: Iterable[str], spool: Spool) -> None:
        self._kinds = frozenset(kinds)
        self._sites = frozenset(sites)
        self._registry = registry = CollectorRegistry()
        self._rendering = threading.Lock()
        self._rendered, self._rendered_at = b"", -math.inf

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=PREFIX, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(name, text, labels, namespace=PREFIX, registry=registry, buckets=buckets)

        # Runs
        self._claimed = counter("claimed_runs", "Runs that this worker has claimed.", "kind")
        self._runs = counter("runs", "Searches of runs that have ended in this worker.", "kind", "outcome")
        self._run_seconds = histogram(
            "run_duration_seconds", "Time from the claim of a run to the end of its search here.", RUN_BUCKETS, "kind"
        )
        # Sites
        self._site_searches = counter(
            "site_searches", "Searches of sites that have ended.", "site", "outcome", "error_code"
        )
        self._pages = counter("pages", "Saved pages.", "site", "status")
        self._page_seconds = histogram(
            "page_response_seconds", "Response time of the site for a saved page.", PAGE_BUCKETS, "site"
        )
        self._page_requests = counter("page_requests", "Requests that the saved pages took.", "site")
        self._items = counter("items", "Valid items on saved pages.", "site")
        self._new_items = counter("new_items", "Items that no earlier run of the same search had found.", "site")
        self._invalid_items = counter("invalid_items", "Records on saved pages that are not valid items.", "site")
        self._requests = counter(
            "site_requests", "Requests of the HTTP client of this worker, without those of JobSpy.", "site", "status"
        )
        self._permit_seconds = histogram(
            "permit_wait_seconds", "Time that searches wait for a permit to ask a site.", WAIT_BUCKETS, "site"
        )
        self._exit_requests = counter("exit_requests", "Requests through each exit.", "site", "exit")
        self._exit_bytes = counter("exit_bytes", "Bytes of the answers to them.", "site", "exit")
        self._left_exits = counter(
            "left_exits", "Exits that a site has refused, or that failed.", "site", "exit", "error_code"
        )
        # The database
        self._call_seconds = histogram(
            "rpc_duration_seconds", "Duration of attempts to call a function of the database.", CALL_BUCKETS, "function"
        )
        self._call_errors = counter(
            "rpc_errors", "Attempts to call a function of the database that have failed.", "function", "error"
        )
        self._last_claim = Gauge(
            "last_claim_timestamp_seconds",
            "Time of the last claim that has succeeded, also without a run.",
            namespace=PREFIX,
            registry=registry,
        )
        # Beside the searches
        self._chores = counter("chore_batches", "Batches of chores that have ended.", "chore", "outcome")
        self._webhooks = counter("webhook_attempts", "Attempts to send a webhook message.", "outcome")
        self._dead_webhooks = counter("dead_webhooks", "Webhook messages whose attempts have all failed.")
        self._lag = histogram("event_loop_lag_seconds", "How late the event loop was, each second.", LAG_BUCKETS)

        self.gauge("spool_pages", "Pages that wait on disk for the database.", lambda: spool.size()[0])
        self.gauge("spool_bytes", "Size of these pages.", lambda: spool.size()[1])
        Info(PREFIX, "The worker.", registry=registry).info({"version": __version__})
        if Path("/proc/self/stat").exists():
            ProcessCollector(registry=registry)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a metric whose value is read when it is asked for, in a thread.

        Args:
            name: Its name, without the prefix.
            text: What it is.
            value: Returns the value.
        """
        Gauge(name, text, namespace=PREFIX, registry=self._registry).set_function(value)

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format, at most a second old. Blocks while it reads files."""
        with self._rendering:
            if time.monotonic() - self._rendered_at >= PAGE_SECONDS:
                self._rendered = generate_latest(_WithoutCreated(self._registry))
                self._rendered_at = time.monotonic()
            return self._rendered

    def call_ended(self, function: str, seconds: float, failure: str | None) -> None:
        """Count a call."""
        self._call_seconds.labels(function).observe(seconds)
        if failure is not None:
            self._call_errors.labels(function, failure).inc()

    def runs_claimed(self, runs: Sequence[Run]) -> None:
        """Count runs."""
        self._last_claim.set_to_current_time()
        for run in runs:
            self._claimed.labels(self._kind(run)).inc()

    def run_ended(self, run: Run, outcome: RunOutcome, seconds: float) -> None:
        """Count a run."""
        self._runs.labels(self._kind(run), outcome).inc()
        self._run_seconds.labels(self._kind(run)).observe(seconds)

    def site_ended(self, site: str, status: str, error_code: str | None) -> None:
        """Count the search of a site."""
        self._site_searches.labels(self._site(site), status, error_code or "").inc()

    def page_saved(self, found: FoundPage, saved: SavedPage) -> None:
        """Count a page and its items."""
        site = self._site(found.site)
        self._pages.labels(site, saved.status).inc()
        self._page_seconds.labels(site).observe(found.page.response_ms / 1000)
        self._page_requests.labels(site).inc(found.page.calls_used)
        self._items.labels(site).inc(len(found.transformed.items))
        self._new_items.labels(site).inc(saved.new)
        self._invalid_items.labels(site).inc(len(found.transformed.errors))

    def permit_granted(self, site: str, seconds: float) -> None:
        """Count a permit."""
        self._permit_seconds.labels(self._site(site)).observe(seconds)

    def sent(self, site: str, exit_name: str, requests: int, size: int) -> None:
        """Count requests through an exit, and the bytes of their answers."""
        self._exit_requests.labels(self._site(site), exit_name).inc(requests)
        self._exit_bytes.labels(self._site(site), exit_name).inc(size)

    def exit_left(self, site: str, exit_name: str, code: str) -> None:
        """Count an exit that a search has left."""
        self._left_exits.labels(self._site(site), exit_name, code).inc()

    def request_ended(self, site: str, status: int | None) -> None:
        """Count a request by the class of its status."""
        status_class = "none" if status is None else f"{status // 100}xx"
        self._requests.labels(self._site(site), status_class).inc()

    def chore_ended(self, chore: str, *, has_failed: bool) -> None:
        """Count a batch."""
        self._chores.labels(chore, "failed" if has_failed else "done").inc()

    def webhooks_sent(self, results: Sequence[AttemptResult], saved: SavedAttempts) -> None:
        """Count messages."""
        for result in results:
            self._webhooks.labels("delivered" if result.error is None else "failed").inc()
        self._dead_webhooks.inc(saved.dead)

    def loop_lagged(self, seconds: float) -> None:
        """Count a measurement of the event loop."""
        self._lag.observe(seconds)

    def _kind(self, run: Run) -> str:
        return run.kind if run.kind in self._kinds else OTHER

    def _site(self, site: str) -> str:
        return site if site in self._sites else OTHER
