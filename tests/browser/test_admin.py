"""The page of admins."""

from __future__ import annotations

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.conftest import NewDevice
from tests.browser.device import Device
from tests.browser.people import Person, new_term, sign_up_admin
from tests.support.boards import PlayedSites
from worker.local.supabase.stack import Endpoints


@pytest.fixture
def admin(stack: Endpoints) -> Person:
    return sign_up_admin(stack)


def test_an_admin_sees_the_runs_of_all_users_and_how_they_went(
    new_device: NewDevice, admin: Person, ada: Person, sites: PlayedSites, stack: Endpoints
) -> None:
    term = new_term()
    with psycopg.connect(stack.db_url) as database:
        database.execute("insert into worker.bucket_limits (bucket, searches) values ('linkedin', 999)")
    sites.fail("indeed", "blocked")
    assert ada.finished(ada.enqueue(term)) == "partial"
    page = new_device(admin).page
    pages.visit(page, "/")
    page.get_by_role("link", name="Admin").click()
    expect(page.get_by_role("heading", name="Admin")).to_be_visible()
    expect(page.get_by_role("table", name="Workers")).to_contain_text("worker-1")
    linkedin = page.get_by_role("table", name="Sites").get_by_role("row").filter(has_text="LinkedIn")
    expect(linkedin).to_contain_text("999 at once")

    page.get_by_label("Status").select_option("partial")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**status=partial**")
    run = page.get_by_role("listitem").filter(has=page.get_by_text(term, exact=True))
    run.get_by_text(term, exact=True).click()
    expect(run).to_contain_text(ada.email)
    expect(run).to_contain_text("Indeed: failed")
    expect(run.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(run).to_contain_text("site_finished Indeed")


def test_others_are_not_shown_that_there_is_such_a_page(device: Device) -> None:
    device.expects("/admin.* 404", "status of 404 .*/admin")
    page = device.page
    pages.visit(page, "/")
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
    page.goto("/admin")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_an_admin_sends_a_dead_message_again(new_device: NewDevice, admin: Person, stack: Endpoints) -> None:
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("select public.worker_add_webhook('crm', 'https://example.com/hooks', '{run.failed}')")
        database.execute(
            "insert into worker.webhook_messages (endpoint, event, payload, error, created_at)"
            " values ('crm', 'run.failed', '{}', 'It answered 500.', worker.now())"
        )
        try:
            page = new_device(admin).page
            pages.visit(page, "/admin")
            dead = page.get_by_role("table", name="Messages that could not be delivered")
            expect(dead).to_contain_text("It answered 500.")
            dead.get_by_role("button", name="Send again").click()
            expect(page.get_by_role("status").filter(has_text="1 message is sent again.")).to_be_visible()
            expect(dead).to_have_count(0)
            (is_due,) = database.execute(
                "select due_at is not null from worker.webhook_messages where endpoint = 'crm'"
            ).fetchall()
            assert is_due == (True,)
        finally:
            database.execute("select public.worker_remove_webhook('crm')")
