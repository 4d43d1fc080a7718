"""Who a request is made as, and what is said of tokens that are malformed."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import jwt
import pytest
from postgrest import APIError, ReturnMethod

from tests.support.books import data, error
from tests.support.stack import SignIn
from worker.local.supabase.stack import Endpoints


async def test_the_database_decides_what_is_allowed(http: httpx.AsyncClient, stack: Endpoints, sign_in: SignIn) -> None:
    response = await http.get("/books", headers={"apikey": stack.anon_key})
    assert error(response) == (401, "42501", "permission denied for table books")
    assert response.headers["www-authenticate"] == "Bearer"
    assert error(await http.get("/secrets"))[:2] == (403, "42501")
    ours, theirs = await sign_in(), await sign_in()
    [mine] = await data(ours.table("books").insert({"title": "Mine"}))
    assert await data(ours.table("books").select("*")) == [mine]
    assert await data(theirs.table("books").select("*")) == []
    assert await data(theirs.table("books").update({"title": "x"}).eq("id", mine["id"])) == []
    with pytest.raises(APIError, match="permission denied") as refused:
        await ours.table("books").update({"pages": 5}).eq("id", mine["id"]).execute()
    assert refused.value.code == "42501"
    assert await data(ours.table("notes").select("id, body").eq("id", 1)) == [{"id": 1, "body": "dry"}]
    unseen = ours.table("texts").insert({"id": 1, "value": "unseen"}, returning=ReturnMethod.minimal)
    assert await data(unseen) == []


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("token", "message", "details"),
    [
        ("", "Empty JWT is sent in Authorization header", None),
        ("nonsense", "Expected 3 parts in JWT; got 1", None),
        ("a.b", "Expected 3 parts in JWT; got 2", None),
        ("a.b.c.d", "Expected 3 parts in JWT; got 4", None),
        ("a.b.c", "JWT cryptographic operation failed", None),
        ("..", "JWT cryptographic operation failed", None),
        (f"{encoded('5')}.e30.e30", "JWT cryptographic operation failed", None),
        (encoded('{"alg": "ROT13"}') + ".e30.e30", "JWT cryptographic operation failed", None),
        (encoded('{"alg": "HS256"}') + ".e30=.e30", "JWT cryptographic operation failed", None),
        (jwt.encode({"role": "service_role"}, "", "none"), "Wrong or unsupported encoding algorithm",
         "JWT is unsecured but expected 'alg' was not 'none'"),
        (jwt.encode({"role": "service_role"}, "x" * 64, "HS512"), "No suitable key or wrong key type",
         "No suitable key was found to decode the JWT"),
        (jwt.encode({"role": "service_role"}, "x" * 32), "No suitable key or wrong key type",
         "None of the keys was able to decode the JWT"),
    ],
)  # fmt: skip
async def test_tokens_that_are_malformed(
    http: httpx.AsyncClient, token: str, message: str, details: str | None
) -> None:
    response = await http.get("/books", headers={"authorization": f"Bearer {token}".strip()})
    assert error(response) == (401, "PGRST301", message)
    assert response.json()["details"] == details
    assert response.headers["www-authenticate"] == f'Bearer error="invalid_token", error_description="{message}"'
    assert response.headers["proxy-status"] == "PostgREST; error=PGRST301"


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": -40}, "JWT expired"),
        ({"exp": -20}, None),
        ({"exp": "soon"}, "The JWT 'exp' claim must be a number"),
        ({"nbf": 40}, "JWT not yet valid"),
        ({"nbf": 20}, None),
        ({"nbf": True}, "The JWT 'nbf' claim must be a number"),
        ({"iat": 40}, "JWT issued at future"),
        ({"iat": None}, None),
        ({"iat": []}, "The JWT 'iat' claim must be a number"),
        ({"aud": 5}, "The JWT 'aud' claim must be a string or an array of strings"),
        ({"aud": ["a", 5]}, "The JWT 'aud' claim must be a string or an array of strings"),
        ({"aud": ["a"]}, None),
        ([], "Parsing claims failed"),
    ],
)  # fmt: skip
async def test_claims_that_do_not_hold(
    http: httpx.AsyncClient, stack: Endpoints, claims: Any, message: str | None
) -> None:
    """Integers are seconds from now."""
    if isinstance(claims, dict):
        now = int(time.time())
        later = {name: now + value for name, value in claims.items() if type(value) is int and name != "aud"}
        claims = {"role": "service_role", **claims, **later}
    token = jwt.api_jws.encode(json.dumps(claims).encode(), stack.jwt_secret, "HS256")
    response = await http.get("/books", headers={"authorization": f"bearer {token}"})
    if message is None:
        assert response.status_code == 200
        return
    assert error(response) == (401, "PGRST303", message)
    assert response.headers["www-authenticate"] == f'Bearer error="invalid_token", error_description="{message}"'


async def test_another_scheme_is_no_token(http: httpx.AsyncClient) -> None:
    response = await http.get("/rpc/request", headers={"authorization": "Basic eDp5"})
    assert (response.json()["role"], response.json()["claims"]) == ("anon", {"role": "anon"})


async def test_tokens_of_other_times_and_roles(http: httpx.AsyncClient, stack: Endpoints) -> None:
    def signed(**claims: Any) -> dict[str, str]:
        token = jwt.encode({"exp": int(time.time()) + 60, **claims}, stack.jwt_secret)
        return {"authorization": f"Bearer {token}"}

    response = await http.get("/books", headers=signed(role="service_role", exp=1))
    assert error(response) == (401, "PGRST303", "JWT expired")
    assert error(await http.get("/books", headers=signed(role="nobody")))[:2] == (401, "22023")
    assert error(await http.get("/books", headers=signed(role="postgres")))[:2] == (403, "42501")
    assert error(await http.get("/books", headers=signed(sub="somebody")))[:2] == (401, "42501")
