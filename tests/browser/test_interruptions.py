"""Sessions that expire, sockets that are cut, and a Supabase that is away."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.browser import pages
from tests.browser.appearance import serious_findings, take_picture
from tests.browser.conftest import NewDevice, Serve
from tests.browser.device import Device
from tests.browser.link import Link
from tests.browser.people import COOKIE, Person, new_term
from tests.support.boards import PlayedSites
from worker.local.supabase.stack import Endpoints
from worker.local.supabase.tokens import Tokens


def expired(stack: Endpoints, person: Person) -> dict[str, object]:
    """The session of a user, one hour after the access token was issued."""
    tokens = Tokens(stack.jwt_secret)
    claims = tokens.claims(person.session["access_token"])
    return {
        "access_token": tokens.issue(claims | {"iat": claims["iat"] - 3700, "exp": claims["exp"] - 3700}),
        "expires_at": claims["exp"] - 3700,
    }


def session_of(device: Device) -> dict[str, object]:
    """The session in the cookies of a device."""
    parts = {
        cookie["name"]: cookie["value"] for cookie in device.context.cookies() if cookie["name"].startswith(COOKIE)
    }
    text = "".join(parts[name] for name in sorted(parts)).removeprefix("base64-")
    session: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return session


def test_an_expired_access_token_is_refreshed_before_the_page_is_shown(
    new_device: NewDevice, stack: Endpoints, ada: Person
) -> None:
    device = new_device()
    device.sign_in(ada, **expired(stack, ada))
    pages.visit(device.page, "/runs")
    expect(device.page.get_by_role("heading", name="History")).to_be_visible()
    assert session_of(device)["refresh_token"] != ada.session["refresh_token"]


def test_an_access_token_that_expires_in_mid_search_is_refreshed(
    new_device: NewDevice, stack: Endpoints, ada: Person, sites: PlayedSites
) -> None:
    device = new_device(ada)
    page = device.page
    pages.visit(page, "/")
    pages.search(page, new_term(), Results_wanted="60")
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        device.sign_in(ada, **expired(stack, ada))
    pages.ended(page)
    expect(pages.results(page)).to_have_count(50)
    assert session_of(device)["refresh_token"] != ada.session["refresh_token"]


def test_a_session_that_was_ended_elsewhere_leads_to_the_page_where_one_signs_in(
    new_device: NewDevice, stack: Endpoints, ada: Person
) -> None:
    device = new_device()
    device.sign_in(ada, refresh_token="revoked", **expired(stack, ada))
    pages.visit(device.page, "/runs")
    expect(device.page.get_by_label("Password")).to_be_visible()


def test_a_run_reaches_its_end_without_realtime(device: Device) -> None:
    sockets: list[WebSocketRoute] = []

    def refuse(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.close()

    page = device.page
    page.route_web_socket("**/realtime/v1/websocket**", refuse)
    pages.visit(page, "/")
    pages.search(page, new_term(), Results_wanted="40")
    pages.ended(page)
    expect(pages.results(page)).not_to_have_count(0)
    assert sockets


@pytest.fixture(scope="module")
def link(shared_stack: Endpoints) -> Iterator[Link]:
    """A connection to Supabase that can be cut."""
    with Link.to(shared_stack.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def address_behind_link(link: Link, serve: Serve) -> Iterator[str]:
    """Address of a frontend whose server and browsers reach Supabase through the link."""
    with serve(link.url) as served:
        yield served


@pytest.fixture
def behind_link(browser: Browser, address_behind_link: str, link: Link, ada: Person) -> Iterator[Device]:
    """A browser in which Ada is signed in, at that frontend."""
    device = Device(browser, address_behind_link)
    device.sign_in(ada)
    yield device
    link.mend()
    device.close()


def test_a_run_reaches_its_end_after_its_socket_was_cut(behind_link: Device, link: Link, sites: PlayedSites) -> None:
    behind_link.expects("ERR_", "WebSocket")
    page = behind_link.page
    pages.visit(page, "/")
    pages.search(page, new_term(), Results_wanted="60")
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        link.cut()
        link.mend()
    pages.ended(page)
    expect(pages.results(page)).to_have_count(50)


def test_an_outage_is_said_and_over_when_supabase_is_back(behind_link: Device, link: Link, sites: PlayedSites) -> None:
    behind_link.expects("ERR_", "WebSocket", " 500", "Server Components render", "Minified React error")
    page = behind_link.page
    pages.visit(page, "/")
    path = pages.search(page, new_term(), Results_wanted="60")
    expect(pages.results(page)).not_to_have_count(0)
    with sites.silent():
        link.cut()
        page.get_by_label("Sort").select_option("pay")
        expect(pages.problem(page)).to_have_text("The server cannot be reached at the moment.")
        # What was shown stays.
        expect(pages.results(page)).not_to_have_count(0)
        link.mend()
    pages.ended(page)
    expect(pages.problem(page)).to_have_count(0)

    link.cut()
    pages.visit(page, path)
    expect(pages.problem(page)).to_contain_text("The page could not be loaded.")
    take_picture(page, "not-loaded")
    assert serious_findings(page) == []
    link.mend()
    page.get_by_role("button", name="Try again").click()
    expect(pages.results(page)).to_have_count(50)
