"""`python -m worker doctor`, as a process, on local stacks that lack one thing or another."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.support.commands import run_command
from tests.support.database import Connect, Connection, scalar
from tests.support.loopback import LOOPBACK, Server, listen, pass_on
from tests.support.stack import running_stack, worker_environment
from worker.cli.doctor import PUSH
from worker.database.queue import SCHEMA_VERSION
from worker.local.loopback import free_port
from worker.local.supabase.faulty_gateway import FaultyGateway
from worker.local.supabase.stack import Endpoints

CHECKS = [
    "settings", "url", "key", "migrations", "realtime", "clock", "queue", "schedules", "spool", "jobspy",
    "sources", "embeddings",
]  # fmt: skip
OPERATION = ["workers", "incidents", "webhooks", "alerts"]
"""The checks after those: how it goes, besides what is there."""
WITHOUT_URL = "✓✗------✓✓✓-"
WITHOUT_KEY = "✓✓✗-----✓✓✓-"
WITHOUT_MIGRATIONS = "✓✓✓✗----✓✓✓-"

MAIN = "import sys; from worker.cli.main import main; code = main(['doctor'])"


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor said.

    Attributes:
        marks: The mark of each of `CHECKS`, in their order.
        operation: The mark of each of `OPERATION`.
        text: All of it, as one line.
    """

    exit_code: int
    marks: str
    operation: str
    text: str


def doctor(stack: Endpoints, before: str = "", after: str = "", **settings: str) -> Report:
    """Run it with the worker's settings for a stack, and with others; and a program before and after it."""
    settings = worker_environment(stack) | settings
    environment = os.environ | settings
    if before or after:
        program = f"{before}\n{MAIN}\n{after}\nsys.exit(code)"
        command = [sys.executable, "-c", program]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    else:
        answer = run_command(environment, "doctor")
    assert answer.stderr == ""
    if key := settings["SUPABASE_SERVICE_ROLE_KEY"].strip():
        assert key not in answer.stdout
    lines = [line for line in answer.stdout.splitlines() if not line.startswith(" ")]
    if len(lines) == len(CHECKS + OPERATION):
        assert [line.split()[1] for line in lines] == CHECKS + OPERATION
    checks, operation = lines[: -len(OPERATION)], lines[-len(OPERATION) :]
    marks, marks_of_operation = ["".join(line[0] for line in some) for some in (checks, operation)]
    return Report(answer.returncode, marks, marks_of_operation, " ".join(answer.stdout.split()))


Replace: TypeAlias = Callable[[str, str, str], Awaitable[None]]


@pytest.fixture
async def replace(database: Connection) -> AsyncIterator[Replace]:
    """Replaces a piece of a function in the database, until the end of the test."""
    originals: list[str] = []

    async def in_function(function: str, piece: str, other: str) -> None:
        original: str = await scalar(database, "select pg_get_functiondef(%s::regprocedure)", [function])
        originals.append(original)
        assert piece in original
        await database.execute(original.replace(piece, other).encode())

    yield in_function
    for original in originals:
        await database.execute(original.encode())


def test_all_is_well(stack: Endpoints) -> None:
    # Nor does the check of JobSpy make this process a heavy one.
    report = doctor(stack, after="assert not {'pandas', 'jobspy'} & sys.modules.keys()")
    assert (report.exit_code, report.marks) == (0, "✓" * len(CHECKS))


def test_it_is_a_command(stack: Endpoints) -> None:
    settings = {"SUPABASE_URL": stack.url, "SUPABASE_SERVICE_ROLE_KEY": stack.anon_key}
    command = [sys.executable, "-m", "worker", "doctor"]
    answer = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 1
    assert "\n✓ url         http://" in answer.stdout
    assert "\n✗ key         this is not the service key" in answer.stdout
    assert "\n              It looks like the anon or publishable key" in answer.stdout
    assert "\n- migrations  not checked: needs key\n" in answer.stdout


# Settings -------------------------------------------------------------------------------------------------------


def test_each_setting_that_is_wrong_has_its_line(stack: Endpoints) -> None:
    report = doctor(stack, SUPABASE_URL="nonsense", WORKER_CONCURRENCY="many")
    assert (report.exit_code, report.marks) == (1, "✗✗-----------")
    assert "settings SUPABASE_URL: must be an address such as" in report.text
    assert "settings WORKER_CONCURRENCY: " in report.text


@pytest.mark.parametrize("key", ["", "two words", "a-line\n", "clé"])
def test_a_key_that_cannot_be_one(stack: Endpoints, key: str) -> None:
    report = doctor(stack, SUPABASE_SERVICE_ROLE_KEY=key)
    assert (report.exit_code, report.marks) == (1, "✗-----------")
    assert "SUPABASE_SERVICE_ROLE_KEY: " in report.text


def test_a_spool_that_cannot_be_written_to(stack: Endpoints, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    report = doctor(stack, WORKER_SPOOL_DIR=str(file))
    assert (report.exit_code, report.marks) == (0, "✓✓✓✓✓✓✓✓!✓✓✓")
    assert f"{file} cannot be written to: File exists" in report.text
    assert "Set WORKER_SPOOL_DIR to a folder" in report.text


# The way to the project -----------------------------------------------------------------------------------------


def test_nothing_listens(stack: Endpoints) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    report = doctor(stack, SUPABASE_URL=url)
    assert (report.exit_code, report.marks) == (1, WITHOUT_URL)
    assert f"{url} cannot be reached: " in report.text


def test_no_such_host(stack: Endpoints) -> None:
    report = doctor(stack, SUPABASE_URL="http://project.invalid")
    assert (report.exit_code, report.marks) == (1, WITHOUT_URL)
    assert "No such host, or no DNS" in report.text


def test_something_that_speaks_no_tls(stack: Endpoints) -> None:
    report = doctor(stack, SUPABASE_URL=stack.url.replace("http:", "https:"))
    assert (report.exit_code, report.marks) == (1, WITHOUT_URL)
    assert "clock and certificates" in report.text


@pytest.mark.parametrize(
    ("status", "content_type", "says"),
    [
        ("200 OK", "text/html", "HTTP 200, text/html: not as a Supabase project does Something else answers there"),
        ("200 OK", "application/json", "HTTP 200, application/json: not as a Supabase project does"),
        ("404 Not Found", "application/json", "HTTP 404, application/json: not as a Supabase project does"),
        ("302 Found", "text/html", "HTTP 302, text/html: not as a Supabase project does"),
        ("402 Payment Required", "application/json", "the project is restricted"),
        ("503 Service Unavailable", "application/json", "HTTP 503 See the project's health"),
        ("540 Project Paused", "text/html", "the project is paused Restore it"),
    ],
)
async def test_another_answer_than_a_projects(stack: Endpoints, status: str, content_type: str, says: str) -> None:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    async with FaultyGateway(stack.url) as gateway:
        gateway.fail(head.encode())
        report = await asyncio.to_thread(doctor, stack, SUPABASE_URL=gateway.url)
    assert (report.exit_code, report.marks) == (1, WITHOUT_URL)
    assert says in report.text


@asynccontextmanager
async def gateway_without(path: bytes, upstream: str) -> AsyncIterator[str]:
    """The URL of a gateway that answers 503 to what begins with `path`, and passes on the rest."""
    port = urlsplit(upstream).port
    assert port is not None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request_line = await reader.readline()
        if request_line.partition(b" ")[2].startswith(path):
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            await pass_on(reader, writer, port, request_line)

    server = Server()
    async with listen(server, serve):
        yield f"http://{LOOPBACK}:{server.port}"


async def test_a_gateway_without_a_database(stack: Endpoints) -> None:
    async with gateway_without(b"/rest/v1/rpc/", stack.url) as url:
        report = await asyncio.to_thread(doctor, stack, SUPABASE_URL=url)
    assert (report.exit_code, report.marks) == (1, WITHOUT_KEY)
    assert "The API answers, but not its database" in report.text


# Keys and migrations --------------------------------------------------------------------------------------------


def test_the_key_of_browsers(stack: Endpoints) -> None:
    report = doctor(stack, SUPABASE_SERVICE_ROLE_KEY=stack.anon_key)
    assert (report.exit_code, report.marks) == (1, WITHOUT_KEY)
    assert "this is not the service key" in report.text


def test_a_service_key_where_browsers_get_theirs(stack: Endpoints) -> None:
    for key in (stack.service_role_key, "sb_secret_of_another_project"):
        report = doctor(stack, SUPABASE_ANON_KEY=key)
        assert (report.exit_code, report.marks) == (0, "✓✓!✓✓✓✓✓✓✓✓✓")
        assert "SUPABASE_ANON_KEY is a service key, which sees and does everything" in report.text
        assert key not in report.text


def test_keys_that_are_swapped(stack: Endpoints) -> None:
    report = doctor(stack, SUPABASE_SERVICE_ROLE_KEY=stack.anon_key, SUPABASE_ANON_KEY=stack.service_role_key)
    assert (report.exit_code, report.marks) == (1, WITHOUT_KEY)
    assert "this is not the service key; and SUPABASE_ANON_KEY is a service key" in report.text


def test_an_address_with_a_password_is_refused_and_not_shown(stack: Endpoints) -> None:
    address = stack.url.replace("//", "//ada:hunter2@")
    report = doctor(stack, SUPABASE_URL=address)
    assert (report.exit_code, report.marks) == (1, "✗-----------")
    assert "SUPABASE_URL: must hold no user and no password" in report.text
    embedding = f"http://ada:hunter2@127.0.0.1:{free_port()}/v1"
    report = doctor(stack, WORKER_EMBEDDING_MODEL="small", WORKER_EMBEDDING_URL=embedding)
    assert "//***@127.0.0.1" in report.text
    assert "hunter2" not in report.text


def test_a_key_of_no_project(stack: Endpoints) -> None:
    report = doctor(stack, SUPABASE_SERVICE_ROLE_KEY="sb_secret_of_another_project")
    assert (report.exit_code, report.marks) == (1, WITHOUT_KEY)
    assert "refused (worker_status: 401 Invalid API key)" in report.text


def test_no_migrations() -> None:
    with running_stack("--no-migrate") as empty:
        report = doctor(empty)
    assert (report.exit_code, report.marks) == (1, WITHOUT_MIGRATIONS)
    assert f"the database has no worker_status {PUSH}" in report.text


@pytest.mark.parametrize(
    ("steps", "marks", "says"),
    [
        (
            -1,
            WITHOUT_MIGRATIONS,
            f"the database is older than the worker {PUSH}",
        ),
        (1, "✓✓✓!✓✓✓✓✓✓✓✓", "the database is newer than the worker They still work together."),
        (2, WITHOUT_MIGRATIONS, "the database is newer than the worker Update the worker."),
    ],
)
async def test_versions(stack: Endpoints, replace: Replace, steps: int, marks: str, says: str) -> None:
    await replace("worker.schema_version()", f"RETURN {SCHEMA_VERSION}", f"RETURN {SCHEMA_VERSION + steps}")
    report = doctor(stack)
    assert (report.exit_code, report.marks) == (int("✗" in marks), marks)
    assert says in report.text


# The running project --------------------------------------------------------------------------------------------


async def test_a_table_that_is_not_published(stack: Endpoints, database: Connection) -> None:
    await database.execute("alter publication supabase_realtime drop table public.search_runs")
    try:
        report = doctor(stack)
    finally:
        await database.execute("alter publication supabase_realtime add table public.search_runs")
    assert (report.exit_code, report.marks) == (1, "✓✓✓✓✗✓✓✓✓✓✓✓")
    assert "alter publication supabase_realtime add table public.search_runs." in report.text


async def test_no_realtime(stack: Endpoints) -> None:
    async with gateway_without(b"/realtime/", stack.url) as url:
        report = await asyncio.to_thread(doctor, stack, SUPABASE_URL=url)
    assert (report.exit_code, report.marks) == (1, "✓✓✓✓✗✓✓✓✓✓✓✓")
    assert "HTTP 503 See that Realtime is enabled" in report.text


@pytest.mark.parametrize(("interval", "says"), [("1 hour", "s behind"), ("-1 hour", "s ahead of")])
async def test_a_clock_that_is_off(stack: Endpoints, replace: Replace, interval: str, says: str) -> None:
    await replace("public.worker_status()", "clock_timestamp()", f"clock_timestamp() + interval '{interval}'")
    report = doctor(stack)
    assert (report.exit_code, report.marks) == (0, "✓✓✓✓✓!✓✓✓✓✓✓")
    assert f"{says} the database's" in report.text
    assert "Leases are safe" in report.text


async def test_a_held_snapshot(stack: Endpoints, replace: Replace, connect_database: Connect) -> None:
    holder = await connect_database()
    async with holder.transaction():
        await holder.execute("set transaction isolation level repeatable read")
        await holder.execute("select 1")
        assert doctor(stack).marks == "✓" * len(CHECKS)
        await replace("worker.now()", "clock_timestamp()", "clock_timestamp() + interval '10 minutes'")
        report = doctor(stack)
    assert (report.exit_code, report.marks) == (0, "✓✓✓✓✓✓!✓✓✓✓✓")
    assert "a transaction has been open for 10 min" in report.text


async def test_schedules_that_nobody_fires(stack: Endpoints, database: Connection) -> None:
    await database.execute("delete from public.search_schedules")
    assert "schedules no search is repeated" in doctor(stack).text
    user = uuid4()
    await database.execute(
        "insert into auth.users (id, email, aud, raw_app_meta_data, raw_user_meta_data, created_at)"
        " values (%s, %s, 'authenticated', '{}', '{}', now())",
        [user, f"{user}@example.com"],
    )
    try:
        await database.execute(
            """
            with saved as (
                insert into public.saved_searches (user_id, name, kind, parameters)
                values (%s, 'nurses', 'jobs', '{"search_term": "nurse"}') returning id
            )
            insert into public.search_schedules (saved_search_id, time_zone, times)
            select id, 'UTC', '{08:00}' from saved
            """,
            [user],
        )
        report = doctor(stack)
        assert report.marks == "✓" * len(CHECKS)
        assert "schedules repeated searches: 1; no slot is late" in report.text
        await database.execute("update public.search_schedules set next_slot_at = now() - interval '7 minutes'")
        report = doctor(stack)
    finally:
        await database.execute("delete from auth.users where id = %s", [user])
    assert (report.exit_code, report.marks) == (0, "✓✓✓✓✓✓✓!✓✓✓✓")
    assert "repeated searches: 1; the oldest slot has been due for 7 min Nothing fires them" in report.text


# JobSpy ---------------------------------------------------------------------------------------------------------


def test_jobspy_is_not_installed(stack: Endpoints) -> None:
    report = doctor(stack, before="import sys; sys.modules['pandas'] = None")
    assert (report.exit_code, report.marks) == (1, "✓✓✓✓✓✓✓✓✓✗✓✓")
    assert "pandas: not installed" in report.text


def test_certificates_that_are_none(stack: Endpoints, tmp_path: Path) -> None:
    certificates = tmp_path / "certificates.pem"
    certificates.write_text("none")
    report = doctor(stack, JOBSPY_CA_CERT=str(certificates))
    assert (report.exit_code, report.marks) == (1, "✓✓✓✓✓✓✓✓✓✗✓✓")
    assert "Set JOBSPY_CA_CERT to a file of PEM certificates" in report.text


def test_exits_are_named(stack: Endpoints) -> None:
    assert "can be loaded, through the exits direct" in doctor(stack).text
    report = doctor(stack, WORKER_EXITS="direct,berlin=http://user:secret@127.0.0.1:1")
    assert "can be loaded, through the exits direct, berlin" in report.text
    assert "secret" not in report.text


def test_a_site_without_an_exit(stack: Endpoints, tmp_path: Path) -> None:
    exits = tmp_path / "exits.toml"
    exits.write_text('[[exits]]\nname = "direct"\nnot_sites = ["remotive"]\n')
    report = doctor(stack, WORKER_EXITS_FILE=str(exits))
    assert report.exit_code == 1
    assert "exits: remotive has none; let one of direct search it" in report.text


@pytest.mark.parametrize(
    ("settings", "mark", "text"),
    [
        ({"UNIPILE_API_KEY": "k"}, "!", "unipile cannot search: some credentials are missing Set UNIPILE_DSN as well"),
        ({"WORKER_HTTP_CA_CERT": __file__}, "✗", "Set WORKER_HTTP_CA_CERT to a file of PEM certificates"),
        ({}, "✓", "9 can be loaded, through the exits direct; without credentials: jsearch, unipile, youtube"),
    ],
)
def test_sources(stack: Endpoints, settings: dict[str, str], mark: str, text: str) -> None:
    report = doctor(stack, **settings)
    assert report.marks == f"✓✓✓✓✓✓✓✓✓✓{mark}✓"
    assert text in report.text


# Embeddings -----------------------------------------------------------------------------------------------------


def test_a_worker_without_a_model(stack: Endpoints) -> None:
    assert "WORKER_EMBEDDING_MODEL is not set: this worker embeds nothing" in doctor(stack).text


def test_the_offline_model(stack: Endpoints) -> None:
    report = doctor(
        stack,
        after="assert not {'wordllama', 'numpy'} & sys.modules.keys()",
        WORKER_EMBEDDING_MODEL="wordllama",
    )
    assert (report.exit_code, report.marks) == (0, "✓" * len(CHECKS))
    assert "wordllama embeds; 0 waiting, 0 given up" in report.text


def test_the_offline_model_is_not_installed(stack: Endpoints) -> None:
    report = doctor(stack, before="import sys; sys.modules['wordllama'] = None", WORKER_EMBEDDING_MODEL="wordllama")
    assert (report.exit_code, report.marks) == (1, "✓✓✓✓✓✓✓✓✓✓✓✗")
    assert "pip install 'supabase-search-worker[embed]'" in report.text


def test_an_endpoint_out_of_reach(stack: Endpoints) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    report = doctor(stack, WORKER_EMBEDDING_MODEL="small", WORKER_EMBEDDING_URL=url)
    assert (report.exit_code, report.marks) == (0, "✓✓✓✓✓✓✓✓✓✓✓!")
    assert f"{url}/embeddings: All connection attempts failed" in report.text


@pytest.mark.pgvector
async def test_the_database_has_another_models_embeddings(stack: Endpoints, database: Connection) -> None:
    await database.execute("select worker.change_embedding_model('another')")
    try:
        report = doctor(stack, WORKER_EMBEDDING_MODEL="wordllama")
    finally:
        await database.execute("select worker.change_embedding_model(null)")
    assert (report.exit_code, report.marks) == (0, "✓✓✓✓✓✓✓✓✓✓✓!")
    assert "the database has those of another, not of wordllama" in report.text


async def test_embeddings_that_were_given_up(stack: Endpoints, database: Connection) -> None:
    async with database.transaction():
        await database.execute(
            """
            with item as (
                insert into public.items (kind, title, url, canonical_key, first_seen_at, last_seen_at)
                values ('jobs', 'x', 'https://example.com', 'site:given-up', now(), now()) returning id
            )
            insert into worker.embedding_queue (item_id, due_at) select id, 'infinity' from item
            """
        )
    try:
        report = doctor(stack, WORKER_EMBEDDING_MODEL="wordllama")
    finally:
        await database.execute("delete from public.items where canonical_key = 'site:given-up'")
    assert (report.exit_code, report.marks) == (0, "✓✓✓✓✓✓✓✓✓✓✓!")
    assert "1 given up See why: select item_id, error from worker.embedding_queue" in report.text


# How it goes -----------------------------------------------------------------------------------------------------


async def test_no_worker_lives(stack: Endpoints, database: Connection) -> None:
    report = doctor(stack)
    assert (report.exit_code, report.operation) == (0, "!✓✓✓")
    assert "workers no worker lives; none was seen within a day Start one: `python -m worker run`" in report.text
    assert "alerts WORKER_ALERT_URLS is not set: this worker sends no notices" in report.text
    await database.execute(
        "insert into worker.workers (worker_id, version, sites, limits, concurrency, started_at, seen_at)"
        " values ('w', '0.1.0', '{}', '{}', 5, now(), now() - interval '30 minutes')"
    )
    assert "no worker lives; the last sign was 30 min ago" in doctor(stack).text
    await database.execute("update worker.workers set seen_at = now()")
    report = doctor(stack, WORKER_ALERT_URLS="json://127.0.0.1/a-secret")
    assert report.operation == "✓✓✓✓"
    assert "workers 1 live, of version 0.1.0; no run waits for them" in report.text
    assert "alerts address 1 (json); `alerts test` sends a message" in report.text
    await database.execute("truncate worker.workers")


def test_an_address_for_alerts_that_is_wrong(stack: Endpoints) -> None:
    report = doctor(stack, WORKER_ALERT_URLS="slack://a-secret")
    assert (report.exit_code, report.operation) == (1, "!✓✓✗")
    assert "WORKER_ALERT_URLS: address 1 (slack) is not an address that Apprise can send to" in report.text
    assert "a-secret" not in report.text


async def test_open_incidents(stack: Endpoints, database: Connection) -> None:
    await database.execute(
        """
        insert into worker.incidents (rule, subject, value, detail, broken_since, broken_at, opened_at, openings,
                                      notice, notice_at, error)
        values ('quota', 'jsearch', 0.9, 'x', now(), now(), now(), 1, 'opened', now(), 'address 1 (slack): no answer'),
               ('no_worker', '', 300, 'x', now(), now(), null, 0, null, null, null)
        """
    )
    report = doctor(stack)
    assert report.operation == "!!✓✓"
    assert "1 open: quota jsearch; a notice could not be sent: address 1 (slack): no answer" in report.text
    await database.execute("truncate worker.incidents")


async def test_webhook_endpoints(stack: Endpoints, database: Connection) -> None:
    await database.execute(
        """
        insert into worker.webhook_endpoints (name, url, events, disabled_at, created_at)
        values ('gone', 'https://example.com', '{run.failed}', now(), now()),
               ('crm', 'https://example.com', '{run.failed}', null, now())
        """
    )
    await database.execute(
        "insert into worker.webhook_messages (endpoint, event, payload, created_at)"
        " values ('crm', 'run.failed', '{}', now())"
    )
    report = doctor(stack, WORKER_WEBHOOK_SECRETS="crm=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert (report.exit_code, report.operation) == (0, "!✓!✓")
    assert "disabled: gone; dead messages: 1 of crm; without a secret here: gone" in report.text
    await database.execute("truncate worker.webhook_endpoints, worker.webhook_messages")
