"""The metrics of a live worker, after real searches; and a worker that has next to no memory."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.queue import enqueue_jobs
from tests.support.stack import signed_in_user
from tests.support.workers import drain, worker_process
from worker.database.user import User
from worker.errors import ErrorCode
from worker.local.boards import Boards, Failure
from worker.local.supabase.stack import Endpoints

pytestmark = pytest.mark.own_stack

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60
SUFFIXES = ("_total", "_bucket", "_sum", "_count", "_info")


class Exported:
    """What a worker has exported.

    Args:
        text: The answer of `/metrics`.
        content_type: Its type.
        secrets: What must not be in it.
    """

    def __init__(self, text: str, content_type: str, secrets: list[str]) -> None:
        self.text = text
        self.content_type = content_type
        self.secrets = secrets
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples: list[Sample] = [sample for family in self.families.values() for sample in family.samples]

    @property
    def names(self) -> set[str]:
        """The names as a query has them."""
        return {sample.name for sample in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert found, (name, labels)
        return sum(found)


@pytest.fixture(scope="module")
def exported(stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    spool = tmp_path_factory.mktemp("spool")
    return asyncio.run(searched(stack, spool))


async def searched(stack: Endpoints, spool: Path) -> Exported:
    """Let a worker search by JobSpy and by its own client, successfully and not; return its metrics."""
    secret = "whsec_" + "c2VjcmV0" * 4
    environment = {
        **Boards.credentials,
        "WORKER_HTTP_PORT": "0",
        "WORKER_SPOOL_DIR": str(spool),
        "WORKER_WEBHOOK_SECRETS": f"crm={secret}",
        "WORKER_HTTP_BACKOFF_SECONDS": "0",
    }
    async with (
        Boards(failures={"jsearch": Failure.SERVER_ERROR}) as boards,
        signed_in_user(stack) as user,
        worker_process(stack, boards, "run", **environment, WORKER_HTTP_CA_CERT=str(boards.ca_cert)) as worker,
    ):
        url = (await worker.logged("Serving "))["message"].split()[-1]
        runs = [await enqueue_jobs(user, "indeed", "arbeitnow"), await enqueue_jobs(user, "jsearch")]
        async with httpx.AsyncClient() as client:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    answer = await client.get(url)
                    # The failed run has returned to the queue.
                    if answer.text.count('search_worker_runs_total{kind="jobs",outcome="') == len(runs):
                        break
                    await asyncio.sleep(0.2)
        assert answer.status_code == 200
        worker.process.send_signal(signal.SIGTERM)
        assert (await worker.ended())[0] == 0
        secrets = [stack.service_role_key, secret, *runs]
    return Exported(answer.text, answer.headers["content-type"], secrets)


def test_the_text_is_that_of_prometheus_and_has_no_secret(exported: Exported) -> None:
    assert exported.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert not [secret for secret in exported.secrets if secret in exported.text]


def test_runs_and_sites_are_counted(exported: Exported) -> None:
    assert exported.value("search_worker_claimed_runs_total", kind="jobs") == 2
    assert exported.value("search_worker_runs_total", kind="jobs", outcome="success") == 1
    assert exported.value("search_worker_runs_total", kind="jobs", outcome="returned") == 1
    assert exported.value("search_worker_run_duration_seconds_count", kind="jobs") == 2
    for site in ("indeed", "arbeitnow"):
        ended = {"site": site, "outcome": "completed", "error_code": ""}
        assert exported.value("search_worker_site_searches_total", **ended) == 1
        assert exported.value("search_worker_pages_total", site=site) >= 1
        assert exported.value("search_worker_page_requests_total", site=site) >= 1
        items = exported.value("search_worker_items_total", site=site)
        assert 0 < exported.value("search_worker_new_items_total", site=site) <= items
    failed = {"site": "jsearch", "outcome": "failed", "error_code": "upstream"}
    assert exported.value("search_worker_site_searches_total", **failed) == 1


def test_requests_and_permits_are_counted(exported: Exported) -> None:
    for site in ("arbeitnow", "indeed"):
        assert exported.value("search_worker_exit_requests_total", site=site, exit="boards") >= 1
        assert exported.value("search_worker_exit_bytes_total", site=site, exit="boards") > 1000
    assert exported.value("search_worker_site_requests_total", site="arbeitnow", status="2xx") >= 1
    assert exported.value("search_worker_site_requests_total", site="jsearch", status="5xx") == 3
    assert exported.value("search_worker_permit_wait_seconds_count", site="indeed") >= 1


def test_calls_and_chores_are_counted(exported: Exported) -> None:
    for function in ("worker_claim_runs", "worker_start_sites", "worker_save_pages", "worker_finish_sites"):
        assert exported.value("search_worker_rpc_duration_seconds_count", function=function) >= 1
    assert exported.value("search_worker_last_claim_timestamp_seconds") > 1.7e9


def test_the_state_of_the_worker_is_exported(exported: Exported) -> None:
    assert exported.value("search_worker_info") == 1
    assert exported.value("search_worker_search_limit_max") == 5
    assert 1 <= exported.value("search_worker_search_limit") <= 5
    assert exported.value("search_worker_spool_pages") == 0
    assert exported.value("search_worker_memory_used_bytes") > 0
    assert exported.value("search_worker_memory_limit_bytes") > 2**26
    assert exported.value("process_resident_memory_bytes") > 2**24


def test_names_follow_the_conventions(exported: Exported) -> None:
    """As `promtool check metrics` does it, and https://prometheus.io/docs/practices/naming/."""
    for name, family in exported.families.items():
        assert re.fullmatch(r"(search_worker|process)(_[a-z]+)+", name), name
        assert family.documentation, name
        # The parser removes `_total` from the name of a counter.
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        assert not re.search("_(milliseconds|ms|minutes|kilobytes|mb|mib|percent)(_|$)", name), name
        assert not re.search("(^|_)(gauge|counter|histogram)(_|$)", name), name
        for sample in family.samples:
            assert (family.type == "counter") == (sample.name.endswith("_total")), sample.name
            assert family.type != "histogram" or "seconds" in name, name
            for label in sample.labels:
                assert re.fullmatch("le|[a-z]+(_[a-z]+)*", label), label


def test_the_values_of_labels_are_known_in_advance(exported: Exported) -> None:
    allowed: Mapping[str, str] = {
        "kind": "jobs",
        "site": "indeed|arbeitnow|jsearch",
        "outcome": "success|returned|completed|failed|done|delivered|waiting",
        "error_code": "|".join(["", *ErrorCode]),
        "exit": "boards",
        "status": "[1-5]xx|none|completed|partial|failed",
        "function": "worker_[a-z_]+",
        "error": "lease_lost|refused|unavailable|unreachable|cancelled",
        "chore": "[A-Z][a-z -]+",
        "version": ".+",
        "le": r"[0-9.]+|\+Inf",
    }
    for sample in exported.samples:
        for label, value in sample.labels.items():
            assert re.fullmatch(allowed[label], value), sample


def test_the_page_of_the_documentation_has_each_metric_and_no_other(exported: Exported) -> None:
    text = (PROJECT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(search_worker_\w+)` ", text, re.MULTILINE))
    families = {family for family in exported.families if family.startswith("search_worker")}
    counters = {family for family in families if exported.families[family].type == "counter"}
    assert documented == {f"{name}_total" for name in counters} | (families - counters)


def queries() -> list[str]:
    """The queries of the dashboard."""
    found: list[str] = []

    def collect(part: Any) -> None:
        if isinstance(part, dict):
            found.extend(value for name, value in part.items() if name == "expr")
            part = list(part.values())
        if isinstance(part, list):
            for each in part:
                collect(each)

    collect(json.loads((PROJECT / "docs" / "grafana" / "search-worker.json").read_text()))
    return found


def test_the_dashboard_asks_for_metrics_that_exist_by_labels_that_they_have(exported: Exported) -> None:
    labels: dict[str, set[str]] = {}
    for sample in exported.samples:
        labels.setdefault(sample.name, {"instance", "job"}).update(sample.labels)
    # Of metrics that have labels and no value yet, the text has only the name.
    types = dict(re.findall(r"^# TYPE (\S+) (\w+)$", exported.text, re.MULTILINE))
    known = labels.keys() | {f"{name}{suffix}" for name in types for suffix in ("", *SUFFIXES)}
    assert len(queries()) > 20
    for query in queries():
        names = re.findall(r"\b((?:search_worker|process)_\w+)\b", query)
        assert names, query
        assert set(names) <= known, query
        used = {name for name in names if name in labels}
        by = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in re.findall(r"\w+", group)}
        for name in used:
            assert by <= labels[name] | {"le"}, query


async def test_a_worker_without_memory_searches_one_run_at_a_time(stack: Endpoints, tmp_path: Path) -> None:
    async with Boards() as boards, signed_in_user(stack) as user:
        for _ in range(3):
            await enqueue_jobs(user, "indeed", "linkedin", results_wanted=20)
        log = await drain(stack, boards, WORKER_MEMORY_MB="1", WORKER_ID="tiny", WORKER_SPOOL_DIR=str(tmp_path))
        runs = await of_user(user)
    pages: LiteralString = """
        select min(fetched_at), max(fetched_at) from worker.raw_collections where run_id = any (%s)
        group by run_id order by 1
    """
    with psycopg.connect(stack.db_url) as database:
        fetched = database.execute(pages, [[run["id"] for run in runs]]).fetchall()
        row = database.execute("select concurrency from worker.workers where worker_id = 'tiny'").fetchone()
    assert row == (1,)
    assert [run["status"] for run in runs] == ["success"] * 3
    assert len(fetched) == len(runs)
    assert all(last <= first for (_, last), (first, _) in pairwise(fetched))
    (said,) = [line["message"] for line in log if "at once" in line["message"]]
    assert re.fullmatch(r"Searches at once: 1 of at most 5: \d+ of 1 MiB of memory are used", said)


async def of_user(user: User) -> list[dict[str, Any]]:
    """The runs of a user in the order in which they were searched."""
    return sorted(await user.runs(10), key=lambda run: str(run["started_at"]))
