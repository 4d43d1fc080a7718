"""Accounts and sessions."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.conftest import NewDevice
from tests.browser.people import Person
from tests.support.stack import PASSWORD, new_email
from worker.local.supabase.stack import Endpoints


def test_a_visitor_signs_up_and_out_and_in_again(new_device: NewDevice) -> None:
    device = new_device()
    page, email = device.page, new_email()
    pages.visit(page, "/")
    expect(page).to_have_url(f"{device.address}/sign-in")
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page).to_have_url(f"{device.address}/")
    expect(page.get_by_text(email)).to_be_visible()
    expect(page.get_by_text("No search is running.")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{device.address}/sign-in")
    expect(page.get_by_text(email)).to_have_count(0)
    pages.visit(page, "/runs")
    expect(page).to_have_url(f"{device.address}/sign-in")

    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{device.address}/")
    expect(page.get_by_text(email)).to_be_visible()
    pages.visit(page, "/sign-in")
    expect(page).to_have_url(f"{device.address}/")


def test_a_wrong_password_is_said(new_device: NewDevice, ada: Person) -> None:
    device = new_device()
    device.expects("/auth/v1/token.* 400", r"status of 400 .*/auth/v1/token")
    page = device.page
    pages.visit(page, "/sign-in")
    page.get_by_label("E-mail address").fill(ada.email)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(pages.problem(page)).to_contain_text("Invalid login credentials")
    assert urlsplit(page.url).path == "/sign-in"


def test_signing_out_leaves_the_other_device_signed_in(new_device: NewDevice, ada: Person) -> None:
    desktop, phone = new_device(), new_device(is_phone=True)
    for device in (desktop, phone):
        pages.visit(device.page, "/sign-in")
        device.page.get_by_label("E-mail address").fill(ada.email)
        device.page.get_by_label("Password").fill(PASSWORD)
        device.page.get_by_role("button", name="Sign in", exact=True).click()
        expect(device.page).to_have_url(f"{device.address}/")
    desktop.page.get_by_role("button", name="Sign out").click()
    expect(desktop.page).to_have_url(f"{desktop.address}/sign-in")
    pages.visit(phone.page, "/runs")
    expect(phone.page.get_by_role("heading", name="History")).to_be_visible()


def test_a_link_signs_in_once(new_device: NewDevice, stack: Endpoints, ada: Person) -> None:
    path = f"/auth/confirm?token_hash={token_hash(stack, ada.email)}&type=email"
    device = new_device()
    device.page.goto(path)
    expect(device.page).to_have_url(f"{device.address}/")
    expect(device.page.get_by_text(ada.email)).to_be_visible()
    device.page.goto("/runs")
    expect(device.page.get_by_role("heading", name="History")).to_be_visible()

    other = new_device()
    other.page.goto(path)
    expect(pages.problem(other.page)).to_contain_text("The link is not valid any more")
    expect(other.page.get_by_label("Password")).to_be_visible()


def test_a_link_that_was_not_sent_is_said(new_device: NewDevice, ada: Person) -> None:
    device = new_device()
    # The local stack sends no mail, and says so.
    device.expects("/auth/v1/otp.* 500", "status of 500 .*/auth/v1/otp")
    page = device.page
    pages.visit(page, "/sign-in")
    page.get_by_role("button", name="Sign in with a link by e-mail").click()
    expect(page.get_by_label("Password")).to_have_count(0)
    page.get_by_label("E-mail address").fill(ada.email)
    page.get_by_role("button", name="Send a link").click()
    expect(pages.problem(page)).to_contain_text("the local stack sends no mail")


def test_a_link_without_a_token_leads_to_the_page_where_one_signs_in(new_device: NewDevice) -> None:
    page = new_device().page
    page.goto("/auth/confirm?type=email&token_hash=&next=https://attacker.test")
    expect(pages.problem(page)).to_contain_text("The link is not valid any more")
    assert "attacker" not in page.url


def token_hash(stack: Endpoints, email: str) -> str:
    """What the link in a mail to a user would have."""
    headers = {"apikey": stack.service_role_key, "Authorization": f"Bearer {stack.service_role_key}"}
    body = {"type": "magiclink", "email": email}
    answer = httpx.post(f"{stack.url}/auth/v1/admin/generate_link", json=body, headers=headers, timeout=30)
    hashed: str = answer.raise_for_status().json()["hashed_token"]
    return hashed
