"""Webhooks: the secrets of a worker, signatures, and to which addresses messages are sent."""

from __future__ import annotations

import json
from base64 import b64encode

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.receiver import OTHER_SECRET, SECRET
from worker.cli.webhooks import new_secret
from worker.engine.webhooks import signed_headers
from worker.errors import ErrorCode, SettingsError, SiteError
from worker.http.webhooks import UndeliveredError, WebhookHttp
from worker.settings import Settings, secrets_by_endpoint


def settings(secrets: str) -> Settings:
    return Settings.model_validate({"SUPABASE_URL": "https://example.com", "WORKER_WEBHOOK_SECRETS": secrets})


def test_the_secrets_of_each_endpoint() -> None:
    read = settings(f" crm={OTHER_SECRET}, bi={SECRET},crm={SECRET} ,")
    assert read.webhook_secrets_by_endpoint() == {"crm": (OTHER_SECRET, SECRET), "bi": (SECRET,)}
    assert settings("").webhook_secrets_by_endpoint() == {}
    assert SECRET not in repr(read)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (SECRET, "must be NAME=whsec_"),
        (f"A b={SECRET}", "must be NAME=whsec_"),
        ("crm=", "crm: must be whsec_ and base64"),
        ("crm=whsec_" + b64encode(b"x" * 23).decode(), "crm: must be whsec_ and base64"),
        ("crm=whsec_" + b64encode(b"x" * 65).decode(), "crm: must be whsec_ and base64"),
        (f"crm={SECRET}!", "crm: must be whsec_ and base64"),
        ("crm=" + SECRET.removeprefix("whsec_"), "crm: must be whsec_ and base64"),
        (",".join([f"crm={SECRET}"] * 3), "crm: has more than 2 secrets"),
    ],
)
def test_wrong_secrets_are_refused_and_not_repeated(wrong: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        settings(wrong)
    assert SECRET.removeprefix("whsec_") not in str(refused.value)


def test_a_new_secret_is_valid_and_random() -> None:
    assert secrets_by_endpoint(f"crm={new_secret()}")
    assert new_secret() != new_secret()


def test_each_secret_verifies_the_headers_and_another_one_does_not() -> None:
    body = json.dumps({"type": "run.finished", "text": "é"})
    headers = signed_headers([SECRET, OTHER_SECRET], "msg_1", body)
    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret).verify(body, headers) == json.loads(body)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body + " ", headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers | {"webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)


class Net(httpx.AsyncBaseTransport):
    """Connects to the addresses that it has."""

    def __init__(self, *reachable: str, status: int = 200) -> None:
        self.reachable = reachable
        self.status = status
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host not in self.reachable:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(self.status, request=request)


def client(net: Net, *, allow_private: bool = False) -> WebhookHttp:
    return WebhookHttp(net, user_agent="agent/1", allow_private=allow_private)


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]

    async def resolve(host: str, port: int) -> list[str]:
        assert (host, port) == ("hooks.example.com", 8443)
        return found

    monkeypatch.setattr("worker.http.webhooks.public_addresses", resolve)
    return found


URL = "https://hooks.example.com:8443/in?a=1"


async def test_the_checked_address_is_connected_to_under_the_name_of_the_host(addresses: list[str]) -> None:
    net = Net(*addresses)
    await client(net).post(URL, {"webhook-id": "msg_1"}, b"{}")
    (sent,) = net.requests
    assert str(sent.url) == "https://192.0.2.1:8443/in?a=1"
    assert sent.headers["host"] == "hooks.example.com:8443"
    assert sent.extensions["sni_hostname"] == "hooks.example.com"
    assert (sent.headers["user-agent"], sent.headers["webhook-id"]) == ("agent/1", "msg_1")
    assert sent.headers["content-type"] == "application/json"


async def test_the_next_address_is_tried(addresses: list[str]) -> None:
    net = Net(addresses[2])
    await client(net).post(URL, {}, b"{}")
    assert [request.url.host for request in net.requests] == addresses[:3]
    with pytest.raises(UndeliveredError, match="ConnectError: refused"):
        await client(Net(addresses[3])).post(URL, {}, b"{}")


@pytest.mark.usefixtures("addresses")
async def test_a_redirect_is_not_followed() -> None:
    net = Net("192.0.2.1", status=307)
    with pytest.raises(UndeliveredError, match="the receiver answered 307"):
        await client(net).post(URL, {}, b"{}")
    assert len(net.requests) == 1


async def test_a_host_that_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, _: int) -> list[str]:
        raise SiteError(ErrorCode.INVALID_PARAMETERS, f"{host} is not a public host")

    monkeypatch.setattr("worker.http.webhooks.public_addresses", resolve)
    net = Net("hooks.example.com")
    with pytest.raises(UndeliveredError, match="is not a public host"):
        await client(net).post(URL, {}, b"{}")
    assert net.requests == []
    await client(net, allow_private=True).post(URL, {}, b"{}")


@pytest.mark.parametrize("url", ["http://hooks.example.com", "https://[bad", "ftp://hooks.example.com"])
async def test_addresses_that_are_not_sent_to(url: str) -> None:
    net = Net()
    with pytest.raises(UndeliveredError, match="address"):
        await client(net).post(url, {}, b"{}")
    assert net.requests == []
