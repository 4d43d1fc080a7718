"""Notices of incidents, sent to a real mail server and a played Slack; and the commands `alerts`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import LiteralString

import pytest

from tests.support.commands import run_command
from tests.support.database import Connection, rows, scalar
from tests.support.listings import Listings
from tests.support.mailbox import PASSWORD, Mailbox, Service, running_mailbox, running_service
from tests.support.queue import Row
from tests.support.stack import worker_environment
from tests.support.stopping_worker import stopped
from tests.support.workers import worker_of
from worker.database.queue import open_queue
from worker.engine.addresses import addresses
from worker.engine.alerts import Checking, Notifying
from worker.errors import SettingsError
from worker.local.supabase.stack import Endpoints
from worker.settings import Settings

# Every worker with addresses sends the notices of all tests.
pytestmark = pytest.mark.own_stack

SLACK_TOKENS = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7ab"
SLACK = f"slack://{SLACK_TOKENS}"

DUE: LiteralString = "update worker.incidents set due_at = now() where due_at is not null"
STATE: LiteralString = "select notice, attempts, cardinality(delivered_to), error, due_at is null from worker.incidents"


@pytest.fixture(autouse=True)
async def one_rule(database: Connection) -> None:
    """Only `quota` is checked, at each call, and opens and ends an incident at once."""
    await database.execute("truncate worker.incidents")
    await database.execute(
        "update worker.alert_rules set is_enabled = rule = 'quota', opens_after = '0', resolves_after = '0'"
    )


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as running:
        yield running


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Slack's incoming webhooks."""
    slack_plugin = pytest.importorskip("apprise.plugins.slack")
    with running_service() as running:
        monkeypatch.setattr(slack_plugin.NotifySlack, "webhook_url", f"{running.url}/services")
        yield running


def settings_of(stack: Endpoints, *urls: str) -> Settings:
    return Settings.model_validate(worker_environment(stack) | {"WORKER_ALERT_URLS": " ".join(urls)})


@asynccontextmanager
async def notifying(stack: Endpoints, *urls: str) -> AsyncIterator[Notifying]:
    settings = settings_of(stack, *urls)
    async with open_queue(settings) as queue:
        yield Notifying(queue, addresses(settings))


async def use_quota(database: Connection, used: int) -> None:
    await database.execute(
        """
        insert into worker.site_buckets (bucket, quota, quota_used, quota_resets_at)
        values ('alpha', 100, %s, now() + interval '1 day')
        on conflict (bucket, account, exit) do update set quota_used = excluded.quota_used
        """,
        [used],
    )


async def check(database: Connection) -> None:
    await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'alerts'")
    await database.execute("select public.worker_check_alerts()")


async def open_incident(database: Connection) -> None:
    await use_quota(database, 90)
    await check(database)


# Sending ------------------------------------------------------------------------------------------------------------


async def test_an_incident_arrives_once_by_mail_and_at_slack_and_so_does_its_end(
    stack: Endpoints, database: Connection, mailbox: Mailbox, slack: Service
) -> None:
    async with notifying(stack, mailbox.url, SLACK) as send:
        await open_incident(database)
        assert await send() == 0
        assert await send() == 60
        (mail,) = mailbox.messages
        assert (mail["Subject"], mail["To"]) == ("Opened: quota alpha", "ops@example.com")
        text = mail.get_body(("plain",))
        assert text is not None
        assert "90 of 100 requests of the quota of alpha are used (90 %), until" in text.get_content()
        assert "docs/alerts.md, quota" in text.get_content()
        ((path, message),) = slack.received
        assert path == f"/services/{SLACK_TOKENS}"
        assert "Opened: quota alpha" in json.dumps(message)
        assert "90 of 100 requests" in json.dumps(message)

        await use_quota(database, 10)
        await check(database)
        await check(database)
        await send()
        await send()
    assert mailbox.subjects == ["Opened: quota alpha", "Resolved: quota alpha"]
    assert len(slack.received) == 2
    assert await rows(database, STATE) == [("resolved", 0, 2, None, True)]


async def test_who_has_a_notice_does_not_get_it_again_while_others_fail(
    stack: Endpoints, database: Connection, mailbox: Mailbox, slack: Service
) -> None:
    slack.status = 500
    async with notifying(stack, SLACK, mailbox.url) as send:
        await open_incident(database)
        await send()
        failed = "address 1 (slack): the service cannot be reached, or did not accept the message"
        assert await rows(database, STATE) == [("opened", 1, 1, failed, False)]
        slack.status = 200
        await database.execute(DUE)
        await send()
    assert mailbox.subjects == ["Opened: quota alpha"]
    assert len(slack.received) == 2
    assert await rows(database, STATE) == [("opened", 1, 2, None, True)]


@pytest.mark.parametrize("fault", ["refuses", "away"])
async def test_a_mail_server_that_does_not_take_it(
    stack: Endpoints, database: Connection, mailbox: Mailbox, fault: str
) -> None:
    mailbox.refuses = fault == "refuses"
    url = {
        "refuses": mailbox.url,
        "away": "mailto://127.0.0.1:9/?to=ops@example.com&from=worker@example.com",
    }[fault]
    async with notifying(stack, url) as send:
        await open_incident(database)
        await send()
    ((_, attempts, delivered, error, _),) = await rows(database, STATE)
    assert (attempts, delivered) == (1, 0)
    assert error.startswith("address 1 (mailto): ")
    assert mailbox.messages == []


async def test_a_service_that_does_not_answer_delays_no_other(
    stack: Endpoints, database: Connection, mailbox: Mailbox, slack: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.addresses.SEND_SECONDS", 0.5)
    slack.may_answer.clear()
    async with notifying(stack, SLACK, mailbox.url) as send:
        await open_incident(database)
        await send()
    assert mailbox.subjects == ["Opened: quota alpha"]
    assert await scalar(database, "select error from worker.incidents") == "address 1 (slack): no answer within 0.5 s"


async def test_two_workers_send_a_notice_once(stack: Endpoints, database: Connection, mailbox: Mailbox) -> None:
    async with notifying(stack, mailbox.url) as first, notifying(stack, mailbox.url) as second:
        await open_incident(database)
        await asyncio.gather(first(), second())
    assert mailbox.subjects == ["Opened: quota alpha"]


@pytest.mark.parametrize(
    ("method", "when", "times"),
    [
        ("claim_notices", "before", 1),
        ("claim_notices", "after", 1),
        ("save_notices", "before", 2),  # the mailbox has the notice, and the database does not know it
        ("save_notices", "after", 1),
    ],
)
async def test_a_worker_that_dies_loses_no_notice(
    stack: Endpoints, database: Connection, mailbox: Mailbox, *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    method: str, when: str, times: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("WORKER_ALERT_URLS", mailbox.url)
    await open_incident(database)
    with stopped(stack, Listings("none", ["indeed"], tmp_path / "log", pages=1, records=1), method, when):
        pass
    await database.execute(DUE)  # a minute later
    async with notifying(stack, mailbox.url) as send:
        await send()
        await send()
    assert mailbox.subjects == ["Opened: quota alpha"] * times
    assert await rows(database, STATE) == [("opened", 0, 1, None, True)]


async def test_a_waiting_worker_checks_and_notifies(
    stack: Endpoints, database: Connection, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.background.FIRST_PAUSE_SECONDS", 0)
    monkeypatch.setattr("worker.engine.background.SETTLE_SECONDS", 0)
    await use_quota(database, 90)
    await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'alerts'")
    async with worker_of(stack, WORKER_ALERT_URLS=mailbox.url) as worker:
        working = asyncio.create_task(worker.run())
        assert await asyncio.to_thread(mailbox.has_received.wait, 30)
        worker.stop()
        await working
    assert mailbox.subjects == ["Opened: quota alpha"]


async def test_the_log_has_incidents(stack: Endpoints, database: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    changes: list[None] = []
    async with open_queue(Settings.model_validate(worker_environment(stack))) as queue:
        checking = Checking(queue, lambda: changes.append(None))
        for used in (90, 90, 10):
            await use_quota(database, used)
            await database.execute("update worker.housekeeping set next_at = '-infinity' where task = 'alerts'")
            assert 55 < await checking() <= 60
    assert len(changes) == 2
    assert "Incident opened: quota alpha: 90 of 100 requests" in caplog.text
    assert "Incident resolved: quota alpha: " in caplog.text


# Secrets ------------------------------------------------------------------------------------------------------------


async def test_addresses_are_in_no_table_and_no_log(
    stack: Endpoints, database: Connection, mailbox: Mailbox, slack: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    slack.status = 500
    mailbox.refuses = True
    async with notifying(stack, mailbox.url, SLACK) as send:
        await open_incident(database)
        await send()
        mailbox.refuses = False
        await database.execute(DUE)
        await send()
    stored = str(await rows(database, "select to_jsonb(i)::text from worker.incidents as i"))
    assert len(slack.received) == 2
    logged = "\n".join(
        record.getMessage() for record in caplog.records if record.name != "mail.log"
    )  # the server's own
    for text in (logged, stored):
        assert "did not accept the message" in text
        for secret in (PASSWORD, *SLACK_TOKENS.split("/"), "ops@example.com"):
            assert secret not in text
    # The loggers work again afterwards.
    logging.getLogger("apprise").warning("heard")
    assert "heard" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mailto://a:secret@example.com, nothing secret", "address 1 must be one such as mailto://"),
        ("secret", "address 1 must be one such as mailto://"),
        ("json://example.com json://", "address 2 must be one such as mailto://"),
    ],
)
def test_a_text_that_is_no_address(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=f"^WORKER_ALERT_URLS: {problem}") as raised:
        Settings.model_validate({"SUPABASE_URL": "http://127.0.0.1", "WORKER_ALERT_URLS": text})
    assert "secret" not in str(raised.value)


def test_addresses_are_separated_by_commas_or_white_space() -> None:
    text = f"mailto://a:b@example.com?to=c@example.com,d@example.com,{SLACK}\n json://example.com ,"
    settings = Settings.model_validate({"SUPABASE_URL": "http://127.0.0.1", "WORKER_ALERT_URLS": text})
    assert settings.alert_addresses() == (
        "mailto://a:b@example.com?to=c@example.com,d@example.com", SLACK, "json://example.com"
    )  # fmt: skip


@pytest.mark.parametrize("url", ["slack://secret", "unknown://secret"])
async def test_a_worker_does_not_start_with_an_address_that_apprise_does_not_take(
    stack: Endpoints, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheme = url.partition(":")[0]
    message = rf"^WORKER_ALERT_URLS: address 2 \({scheme}\) is not an address that Apprise can send to$"
    with pytest.raises(SettingsError, match=message):
        await worker_of(stack, WORKER_ALERT_URLS=f"json://example.com {url}").once()
    assert "secret" not in caplog.text


async def test_without_apprise(stack: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    monkeypatch.setattr("worker.engine.addresses.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"Apprise is not installed: pip install .*\[alerts\]"):
        await worker_of(stack, WORKER_ALERT_URLS=SLACK).once()
    await worker_of(stack).once()


def test_the_hash_of_an_address_needs_the_key(stack: Endpoints) -> None:
    first, again = [addresses(settings_of(stack, SLACK))[0] for _ in range(2)]
    other = settings_of(stack, SLACK).model_copy(update={"supabase_service_role_key": None})
    assert first.hash == again.hash
    with pytest.raises(SettingsError, match="SUPABASE_SERVICE_ROLE_KEY: is required"):
        addresses(other)
    moved = addresses(settings_of(stack, "json://example.com", SLACK))[1]
    assert moved.hash == first.hash
    another = Settings.model_validate(
        worker_environment(stack) | {"WORKER_ALERT_URLS": SLACK, "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_other"}
    )
    assert addresses(another)[0].hash != first.hash


# The operator -------------------------------------------------------------------------------------------------------


async def command(stack: Endpoints, *arguments: str, **environment: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        run_command, {**os.environ, **worker_environment(stack), "COLUMNS": "200", **environment}, "alerts", *arguments
    )
    return done.returncode, done.stdout, done.stderr


async def test_the_test_message(stack: Endpoints, mailbox: Mailbox) -> None:
    with running_service() as service:
        other = f"{service.url.replace('http', 'json')}/a-secret"
        urls = {"WORKER_ALERT_URLS": f"{mailbox.url},{other}"}
        code, out, errors = await command(stack, "test", **urls)
        assert (code, errors) == (0, "")
        assert sorted(out.splitlines()) == ["address 1 (mailto): accepted", "address 2 (json): accepted"]
        assert mailbox.subjects == ["Test of alerts"]
        service.status = 403
        code, out, errors = await command(stack, "test", **urls)
        assert (code, out) == (1, "address 1 (mailto): accepted\n")
        assert errors == "address 2 (json): the service cannot be reached, or did not accept the message\n"
    assert await command(stack, "test") == (
        2, "", "WORKER_ALERT_URLS: is required. It has the addresses to send to.\n"
    )  # fmt: skip
    code, _, errors = await command(stack, "test", WORKER_ALERT_URLS="slack://a-secret")
    assert (code, errors) == (2, "WORKER_ALERT_URLS: address 1 (slack) is not an address that Apprise can send to\n")


async def test_the_list(stack: Endpoints, database: Connection) -> None:
    code, out, _ = await command(stack, "list")
    assert code == 0
    assert out.startswith("No incident is open.\n")
    await open_incident(database)
    code, out, _ = await command(stack, "list")
    assert "90 of 100 requests of the quota of alpha" in " ".join(out.split())
    assert "waits" in out
    listed = json.loads((await command(stack, "list", "--json"))[1])
    assert [incident["rule"] for incident in listed["incidents"]] == ["quota"]
    assert len(listed["rules"]) == 12


async def test_a_rule_is_changed(stack: Endpoints, database: Connection) -> None:
    async def rule() -> Row:
        query: LiteralString = "select to_jsonb(r) from worker.alert_rules as r where rule = 'failure_rate'"
        return dict(await scalar(database, query))

    code, out, _ = await command(
        stack, "set", "failure_rate", "--threshold", "0.5", "--period", "1800", "--least-count", "5", "--enable"
    )
    assert code == 0
    assert out.splitlines()[1].split() == ["failure_rate", "50", "%", "00:30:00", "5", "enabled"]
    changed = await rule()
    assert (changed["threshold"], changed["period"], changed["least_count"], changed["is_enabled"]) == (
        0.5, "00:30:00", 5, True
    )  # fmt: skip
    assert (await command(stack, "set", "failure_rate", "--disable"))[0] == 0
    assert await rule() == changed | {"is_enabled": False}
    assert await command(stack, "set", "failure_rate", "--threshold", "50") == (
        2, "", "Refused: threshold must be more than 0; of a share, such as 0.2 for 20 %, at most 1\n"
    )  # fmt: skip
    assert (await command(stack, "set", "failure_rate", "--threshold", "nan"))[0] == 2
    assert (await command(stack, "set", "unknown"))[2].startswith("Refused: rule must be one of failure_rate, ")
