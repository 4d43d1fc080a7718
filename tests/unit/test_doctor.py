from __future__ import annotations

import asyncio
import base64
import json
from contextlib import aclosing

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.doctor import Finding, Outcome, findings, is_exposed
from worker.database.api_keys import Holder, holder_of


def jwt(claims: object) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{encoded}.c2lnbmVk"


@pytest.mark.parametrize(
    ("key", "holder"),
    [
        ("sb_secret_x", "service"),
        ("sb_publishable_x", "browser"),
        (jwt({"role": "service_role"}), "service"),
        (jwt({"role": "anon"}), "browser"),
        (jwt({"role": "authenticated"}), "browser"),
        (jwt({"role": "mine"}), None),
        (jwt({"role": ["anon"]}), None),
        (jwt([]), None),
        (jwt({}), None),
        ("sb_temp_x", None),
        ("a.b.c", None),
        ("", None),
    ],
)
def test_a_key_says_whose_it_is(key: str, holder: Holder | None) -> None:
    assert holder_of(key) == holder


@given(st.text() | st.binary().map(lambda inside: f"e30.{base64.urlsafe_b64encode(inside).decode()}.x"))
def test_whatever_a_key_is_it_is_not_an_error(key: str) -> None:
    assert holder_of(key) in (None, "service", "browser")


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("https://abc.supabase.co", False),
        ("http://127.0.0.1:54321", False),
        ("http://127.8.0.1", False),
        ("http://[::1]:54321", False),
        ("http://localhost:54321", False),
        ("http://db.localhost", False),
        ("http://abc.supabase.co", True),
        ("http://localhost.example.com", True),
        ("http://192.168.0.2:54321", True),
        ("http://kong:8000", True),
    ],
)
def test_what_leaves_this_machine_unencrypted(url: str, *, exposed: bool) -> None:
    assert is_exposed(url) is exposed


@respx.mock
async def test_it_warns_of_an_address_that_is_not_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://supabase.example")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "sb_publishable_x")
    respx.get("http://supabase.example/rest/v1/").mock(httpx.Response(401, json={"message": "No API key"}))
    found: dict[str, Finding] = {}
    async with asyncio.timeout(60), aclosing(findings()) as checks:
        async for name, finding in checks:
            found[name] = finding
            if name == "key":
                break
    assert found["url"].outcome is Outcome.WARNING
    assert found["url"].found.endswith("unencrypted")
    # Nothing more is asked with a key that says itself that it is the wrong one.
    assert found["key"].outcome is Outcome.BROKEN
    assert "sb_publishable_x" not in str(found)
