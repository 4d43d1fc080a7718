"""Metrics: what is counted, and under which labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from worker.database.answers import AttemptResult, SavedAttempts, SavedPage
from worker.engine import metrics as module
from worker.engine.metrics import Metrics
from worker.engine.observer import WAITING, RunOutcome
from worker.engine.spool import Spool
from worker.model import FoundPage, Item, ItemError, Lease, Page, Run, Transformed


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.setattr(module, "PAGE_SECONDS", 0)
    return Metrics(["jobs"], ["indeed"], Spool(tmp_path))


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[str]], float]:
    """The samples by their names and the values of their labels."""
    return {
        (sample.name.removeprefix("search_worker_"), frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, *labels: str) -> float:
    return samples(metrics)[name, frozenset(labels)]


def run_of(kind: str) -> Run:
    run_id = uuid4()
    return Run(run_id, Lease(run_id, uuid4()), kind, {}, None, (), 1, 3)


def found_at(site: str) -> FoundPage:
    items = (Item("1", "Nurse", "https://example.com/1"), Item("2", "Nurse", "https://example.com/2"))
    transformed = Transformed(1, items, (ItemError(2, "InvalidItemError", "must be a text"),), {}, 3)
    return FoundPage(site, 1, None, "jobspy", Page(1, [], 1500, calls_used=4), transformed)


def test_a_page_is_counted_with_its_items(metrics: Metrics) -> None:
    metrics.page_saved(found_at("indeed"), SavedPage("partial", results=2, new=1))
    assert value(metrics, "pages_total", "indeed", "partial") == 1
    assert value(metrics, "page_requests_total", "indeed") == 4
    assert value(metrics, "page_response_seconds_sum", "indeed") == 1.5
    assert value(metrics, "items_total", "indeed") == 2
    assert value(metrics, "new_items_total", "indeed") == 1
    assert value(metrics, "invalid_items_total", "indeed") == 1


def test_what_the_worker_does_not_know_has_one_label(metrics: Metrics) -> None:
    """A site comes from a user's parameters: it must not make a series of its own."""
    for number in range(50):
        metrics.page_saved(found_at(f"site-{number}"), SavedPage("completed", results=0, new=0))
        metrics.site_ended(f"site-{number}", "failed", "invalid_parameters")
        metrics.permit_granted(f"site-{number}", 0.5)
        metrics.sent(f"site-{number}", "direct", 2, 100)
        metrics.exit_left(f"site-{number}", "direct", "blocked")
        metrics.request_ended(f"site-{number}", 404)
        metrics.run_ended(run_of(f"kind-{number}"), RunOutcome.FAILED, 2)
    assert "site-" not in metrics.page().decode()
    assert "kind-" not in metrics.page().decode()
    assert value(metrics, "pages_total", "other", "completed") == 50
    assert value(metrics, "site_searches_total", "other", "failed", "invalid_parameters") == 50
    assert value(metrics, "permit_wait_seconds_count", "other") == 50
    assert value(metrics, "exit_requests_total", "other", "direct") == 100
    assert value(metrics, "exit_bytes_total", "other", "direct") == 5000
    assert value(metrics, "left_exits_total", "other", "direct", "blocked") == 50
    assert value(metrics, "runs_total", "other", "failed") == 50


def test_requests_are_counted_by_the_class_of_their_status(metrics: Metrics) -> None:
    for status in (200, 204, 429, 503, None):
        metrics.request_ended("indeed", status)
    classes = {"2xx": 2, "4xx": 1, "5xx": 1, "none": 1}
    assert {name: value(metrics, "site_requests_total", "indeed", name) for name in classes} == classes


def test_runs_sites_calls_chores_and_webhooks_are_counted(metrics: Metrics) -> None:
    metrics.runs_claimed([run_of("jobs"), run_of("jobs")])
    metrics.run_ended(run_of("jobs"), RunOutcome.RETURNED, 2.5)
    metrics.site_ended("indeed", WAITING, None)
    metrics.call_ended("worker_claim_runs", 0.2, None)
    metrics.call_ended("worker_claim_runs", 0.3, "unreachable")
    metrics.chore_ended("Embedding", has_failed=True)
    sent = AttemptResult(uuid4())
    metrics.webhooks_sent([sent, replace(sent, error="answered 500")], SavedAttempts(1, 1, ()))
    metrics.loop_lagged(0.004)
    assert value(metrics, "claimed_runs_total", "jobs") == 2
    assert value(metrics, "runs_total", "jobs", "returned") == 1
    assert value(metrics, "run_duration_seconds_sum", "jobs") == 2.5
    assert value(metrics, "site_searches_total", "indeed", "waiting", "") == 1
    assert value(metrics, "rpc_duration_seconds_count", "worker_claim_runs") == 2
    assert value(metrics, "rpc_errors_total", "worker_claim_runs", "unreachable") == 1
    assert value(metrics, "chore_batches_total", "Embedding", "failed") == 1
    assert value(metrics, "webhook_attempts_total", "delivered") == 1
    assert value(metrics, "webhook_attempts_total", "failed") == 1
    assert value(metrics, "dead_webhooks_total") == 1
    assert value(metrics, "event_loop_lag_seconds_count") == 1


def test_the_spool_is_measured_when_the_page_is_made(metrics: Metrics, tmp_path: Path) -> None:
    assert value(metrics, "spool_pages") == 0
    Spool(tmp_path).put(uuid4(), found_at("indeed"))
    Spool(tmp_path).put_refused(uuid4(), found_at("indeed"))
    assert value(metrics, "spool_pages") == 1
    assert value(metrics, "spool_bytes") > 100


def test_the_page_is_made_once_for_those_who_ask_at_the_same_time(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SECONDS", 60)
    assert metrics.page() is metrics.page()


def test_two_workers_in_one_process_count_apart(tmp_path: Path) -> None:
    first, second = (Metrics(["jobs"], ["indeed"], Spool(tmp_path)) for _ in range(2))
    first.loop_lagged(0.1)
    assert value(first, "event_loop_lag_seconds_count") == 1
    assert value(second, "event_loop_lag_seconds_count") == 0
