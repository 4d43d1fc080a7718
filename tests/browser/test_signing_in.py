"""Accounts and sessions."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.conftest import NewDevice
from tests.browser.people import Person
from tests.support.stack import PASSWORD, new_email


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
