from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest
from supabase import AsyncClient, AuthApiError, AuthWeakPasswordError
from supabase_auth.types import Session, VerifyTokenHashParams

from tests.support.stack import PASSWORD, SignIn, new_email
from worker.local.supabase.stack import Endpoints


@pytest.fixture
def sign_in(sign_in: SignIn) -> SignIn:
    """As elsewhere, but with a password."""

    async def as_new_user() -> AsyncClient:
        client = await sign_in()
        await client.auth.sign_up({"email": new_email(), "password": PASSWORD})
        return client

    return as_new_user


async def session_of(client: AsyncClient) -> Session:
    session = await client.auth.get_session()
    assert session is not None
    return session


async def email_of(client: AsyncClient) -> str:
    email = (await session_of(client)).user.email
    assert email is not None
    return email


def call(
    stack: Endpoints, method: str, path: str, *, key: str | None = None, token: str | None = None, **request: Any
) -> httpx.Response:
    headers = {"apikey": key or stack.anon_key, "X-Supabase-Api-Version": "2024-01-01"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.request(method, f"{stack.url}/auth/v1{path}", headers=headers, timeout=30, **request)


async def test_sign_up_signs_in_with_the_claims_of_the_platform(sign_in: SignIn, stack: Endpoints) -> None:
    client = await sign_in()
    session = await session_of(client)
    claims = jwt.decode(session.access_token, stack.jwt_secret, algorithms=["HS256"], audience="authenticated")
    assert claims.pop("exp") == session.expires_at == claims.pop("iat") + 3600
    assert claims.pop("amr")[0]["method"] == "password"
    assert claims.pop("session_id")
    assert claims == {
        "iss": "supabase-local",
        "sub": session.user.id,
        "aud": "authenticated",
        "role": "authenticated",
        "aal": "aal1",
        "email": session.user.email,
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "is_anonymous": False,
    }
    assert session.user.email_confirmed_at is not None


async def test_password_signs_in_however_the_email_is_written(sign_in: SignIn) -> None:
    client = await sign_in()
    user = (await session_of(client)).user
    email = await email_of(client)
    await client.auth.sign_in_with_password({"email": email.upper(), "password": PASSWORD})
    assert (await session_of(client)).user.id == user.id


async def test_a_wrong_password_and_an_unknown_user_look_alike(sign_in: SignIn) -> None:
    client = await sign_in()
    for email in (await email_of(client), new_email()):
        with pytest.raises(AuthApiError, match="Invalid login credentials") as refusal:
            await client.auth.sign_in_with_password({"email": email, "password": "wrong horse"})
        assert (refusal.value.status, refusal.value.code) == (400, "invalid_credentials")


async def test_an_email_signs_up_once(sign_in: SignIn) -> None:
    client = await sign_in()
    email = await email_of(client)
    with pytest.raises(AuthApiError, match="User already registered") as refusal:
        await client.auth.sign_up({"email": email, "password": PASSWORD})
    assert (refusal.value.status, refusal.value.code) == (422, "user_already_exists")


async def test_a_short_password_is_weak(service: AsyncClient) -> None:
    with pytest.raises(AuthWeakPasswordError) as refusal:
        await service.auth.sign_up({"email": new_email(), "password": "five5"})
    assert refusal.value.reasons == ["length"]


async def test_an_anonymous_user_becomes_a_permanent_one(sign_in: SignIn) -> None:
    client = await sign_in()
    anonymous = (await client.auth.sign_in_anonymously({"options": {"data": {"theme": "dark"}}})).user
    assert anonymous is not None
    assert (anonymous.is_anonymous, anonymous.email, anonymous.app_metadata) == (True, "", {})
    email = new_email()
    await client.auth.update_user({"email": email, "password": PASSWORD})
    permanent = (await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})).user
    assert permanent is not None
    assert (permanent.id, permanent.is_anonymous) == (anonymous.id, False)
    assert permanent.user_metadata == {"theme": "dark"}


async def test_user_metadata_is_merged_and_null_removes_a_key(sign_in: SignIn) -> None:
    client = await sign_in()
    await client.auth.update_user({"data": {"kept": 1, "removed": 2}})
    answer = await client.auth.update_user({"data": {"removed": None, "nested": {"null": None}}})
    assert answer.user.user_metadata == {"kept": 1, "nested": {"null": None}}


async def test_a_user_may_not_set_what_only_an_admin_may(sign_in: SignIn, stack: Endpoints) -> None:
    session = await session_of(await sign_in())
    answer = call(stack, "PUT", "/user", token=session.access_token, json={"app_metadata": {"admin": True}})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_admin")
    call(stack, "PUT", "/user", token=session.access_token, json={"role": "service_role"})
    refreshed = call(
        stack, "POST", "/token?grant_type=refresh_token", json={"refresh_token": session.refresh_token}
    ).json()
    assert refreshed["user"]["role"] == "authenticated"


async def test_a_new_password_ends_the_other_sessions(sign_in: SignIn, stack: Endpoints) -> None:
    client = await sign_in()
    email = await email_of(client)
    credentials = {"email": email, "password": PASSWORD}
    other = call(stack, "POST", "/token?grant_type=password", json=credentials).json()
    await client.auth.update_user({"password": "battery staple"})
    answer = call(stack, "GET", "/user", token=other["access_token"])
    assert (answer.status_code, answer.json()["code"]) == (403, "session_not_found")
    assert (await client.auth.get_user()) is not None


async def test_refresh_tokens_rotate_and_an_old_one_ends_the_session(sign_in: SignIn) -> None:
    client = await sign_in()
    first = await session_of(client)
    second = (await client.auth.refresh_session()).session
    assert second is not None
    assert second.refresh_token != first.refresh_token
    # The answer that brought the second may have been lost.
    again = (await client.auth.refresh_session(first.refresh_token)).session
    assert again is not None
    assert again.refresh_token == second.refresh_token
    third = (await client.auth.refresh_session()).session
    assert third is not None
    with pytest.raises(AuthApiError) as reuse:
        await client.auth.refresh_session(first.refresh_token)
    assert (reuse.value.status, reuse.value.code) == (400, "refresh_token_already_used")
    with pytest.raises(AuthApiError) as ended:
        await client.auth.refresh_session(third.refresh_token)
    assert (ended.value.status, ended.value.code) == (400, "refresh_token_not_found")


@pytest.mark.parametrize(("scope", "left"), [("global", []), ("local", ["other"]), ("others", ["this"])])
async def test_sign_out_ends_the_sessions_of_its_scope(
    sign_in: SignIn, stack: Endpoints, scope: Any, left: list[str]
) -> None:
    client = await sign_in()
    credentials = {"email": await email_of(client), "password": PASSWORD}
    this = await session_of(client)
    other = call(stack, "POST", "/token?grant_type=password", json=credentials).json()
    await client.auth.sign_out({"scope": scope})
    tokens = {"this": this.access_token, "other": other["access_token"]}
    alive = [name for name, token in tokens.items() if call(stack, "GET", "/user", token=token).is_success]
    assert alive == left


@pytest.mark.parametrize(
    ("claims", "status", "code"),
    [
        ({"sub": str(uuid4()), "exp": int(time.time()) - 1}, 403, "bad_jwt"),
        ({"sub": str(uuid4())}, 403, "user_not_found"),
        ({}, 403, "bad_jwt"),
    ],
)
def test_a_token_of_no_user_is_refused(stack: Endpoints, claims: dict[str, Any], status: int, code: str) -> None:
    token = jwt.encode({"role": "authenticated", **claims}, stack.jwt_secret, algorithm="HS256")
    answer = call(stack, "GET", "/user", token=token)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    forged = jwt.encode({"role": "service_role"}, "another secret of 32 bytes or more", algorithm="HS256")
    assert call(stack, "GET", "/admin/users", token=forged).json()["code"] == "bad_jwt"


async def test_admin_manages_users(service: AsyncClient, sign_in: SignIn) -> None:
    email = new_email()
    made = await service.auth.admin.create_user(
        {"email": email, "password": PASSWORD, "app_metadata": {"plan": "pro"}, "user_metadata": {"name": "Ada"}}
    )
    client = await sign_in()
    with pytest.raises(AuthApiError) as unconfirmed:
        await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert unconfirmed.value.code == "email_not_confirmed"
    await service.auth.admin.update_user_by_id(made.user.id, {"email_confirm": True})
    session = (await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})).session
    assert session is not None
    found = (await service.auth.admin.get_user_by_id(made.user.id)).user
    assert found.app_metadata == {"provider": "email", "providers": ["email"], "plan": "pro"}
    assert found.user_metadata == {"name": "Ada"}
    with pytest.raises(AuthApiError) as taken:
        await service.auth.admin.create_user({"email": email, "email_confirm": True})
    assert (taken.value.status, taken.value.code) == (422, "email_exists")
    await service.auth.admin.delete_user(made.user.id)
    with pytest.raises(AuthApiError) as gone:
        await service.auth.admin.get_user_by_id(made.user.id)
    assert (gone.value.status, gone.value.code) == (404, "user_not_found")


async def test_admin_lists_users_page_by_page(service: AsyncClient) -> None:
    made = [
        (await service.auth.admin.create_user({"email": new_email(), "email_confirm": True})).user.id for _ in range(3)
    ]
    newest = await service.auth.admin.list_users(page=1, per_page=2)
    assert [user.id for user in newest] == made[:0:-1]
    assert (await service.auth.admin.list_users(page=2, per_page=2))[0].id == made[0]


async def test_admin_api_is_for_the_service_role_alone(sign_in: SignIn) -> None:
    client = await sign_in()
    with pytest.raises(AuthApiError) as refusal:
        await client.auth.admin.list_users()
    assert (refusal.value.status, refusal.value.code) == (403, "not_admin")


@pytest.mark.parametrize(
    ("request_", "status", "code", "message"),
    [
        ({"content": "{"}, 400, "bad_json", "Could not parse request body as JSON"),
        ({"json": [1]}, 400, "bad_json", "Could not parse request body as JSON"),
        ({"json": {"email": 1}}, 400, "bad_json", "email: Input should be a valid string"),
        (
            {"json": {"email": "a@b.co", "password": PASSWORD, "data": 1}},
            400,
            "bad_json",
            "data: Input should be an object",
        ),
        ({"json": {"email": "ada", "password": PASSWORD}}, 400, "validation_failed", "invalid format"),
        ({"json": {"email": "a@b.co"}}, 400, "validation_failed", "requires a valid password"),
    ],
)
def test_a_bad_sign_up_says_what_is_wrong(
    stack: Endpoints, request_: dict[str, Any], status: int, code: str, message: str
) -> None:
    answer = call(stack, "POST", "/signup", **request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert message in answer.json()["message"]
    assert answer.headers["x-supabase-api-version"] == "2024-01-01"


def test_passwords_are_not_kept_as_they_are(stack: Endpoints) -> None:
    emails = [new_email(), new_email()]
    for email in emails:
        call(stack, "POST", "/signup", json={"email": email, "password": PASSWORD})
    with psycopg.connect(stack.db_url) as connection:
        first, second = (
            kept
            for (kept,) in connection.execute(
                "select encrypted_password from auth.users where email = any(%s)", (emails,)
            )
        )
    assert first != second
    assert PASSWORD not in first


async def test_recovery(sign_in: SignIn, stack: Endpoints) -> None:
    client = await sign_in()
    with pytest.raises(AuthApiError) as refused:
        await client.auth.reset_password_for_email(await email_of(client))
    assert (refused.value.status, refused.value.code) == (500, "unexpected_failure")
    assert refused.value.message == "Error sending recovery email: the local stack sends no mail"
    await client.auth.reset_password_for_email(new_email())  # nobody may find out who has an account
    response = call(stack, "POST", "/recover", json={})
    assert response.json() == {"code": "validation_failed", "message": "Password recovery requires an email"}
    assert (response.status_code, response.headers["x-sb-error-code"]) == (400, "validation_failed")


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({}, 400, "validation_failed", "One of email or phone must be set"),
        ({"create_user": False}, 400, "validation_failed", "One of email or phone must be set"),
        ({"email": "nobody"}, 400, "validation_failed", "Unable to validate email address: invalid format"),
        ({"email": "a@b.cd", "phone": "1"}, 400, "validation_failed",
         "Only an email address or phone number should be provided"),
        ({"email": "a@b.cd", "channel": "sms"}, 400, "validation_failed",
         "Channel should only be specified with Phone OTP"),
        ({"email": "no@b.cd", "create_user": False}, 422, "otp_disabled", "Signups not allowed for otp"),
        ({"phone": "123", "create_user": False}, 422, "otp_disabled", "Signups not allowed for otp"),
        ({"phone": "123"}, 400, "phone_provider_disabled", "Unsupported phone provider"),
        ({"email": "no@b.cd"}, 500, "unexpected_failure",
         "Error sending magic link email: the local stack sends no mail"),
    ],
)  # fmt: skip
def test_one_time_passwords(stack: Endpoints, body: dict[str, Any], status: int, code: str, message: str) -> None:
    response = call(stack, "POST", "/otp", json=body)
    assert (response.status_code, response.json()) == (status, {"code": code, "message": message})
    with psycopg.connect(stack.db_url) as connection:
        assert connection.execute("select from auth.users where email like '%@b.cd'").rowcount == 0


async def test_a_one_time_password_by_supabase_py(sign_in: SignIn) -> None:
    client = await sign_in()
    with pytest.raises(AuthApiError) as refused:
        await client.auth.sign_in_with_otp({"email": await email_of(client), "options": {"should_create_user": False}})
    assert (refused.value.status, refused.value.code) == (500, "unexpected_failure")


async def test_a_link_signs_in_once(service: AsyncClient, sign_in: SignIn, stack: Endpoints) -> None:
    client = await sign_in()
    email = await email_of(client)
    made = (await service.auth.admin.generate_link({"type": "magiclink", "email": email})).properties
    assert made.verification_type == "magiclink"
    assert made.action_link.startswith(f"{stack.url}/auth/v1/verify?token={made.hashed_token}&type=magiclink&")
    used: VerifyTokenHashParams = {"type": "email", "token_hash": made.hashed_token}
    answer = await client.auth.verify_otp(used)
    assert answer.session is not None
    assert answer.user is not None
    assert answer.user.email == email
    claims = jwt.decode(answer.session.access_token, stack.jwt_secret, algorithms=["HS256"], audience="authenticated")
    assert claims["amr"][0]["method"] == "otp"
    with pytest.raises(AuthApiError, match="Email link is invalid or has expired") as refused:
        await client.auth.verify_otp(used)
    assert (refused.value.status, refused.value.code) == (403, "otp_expired")


async def test_a_link_expires_and_is_replaced_by_the_next_one(
    service: AsyncClient, sign_in: SignIn, stack: Endpoints
) -> None:
    email = await email_of(await sign_in())
    first, second = [
        (await service.auth.admin.generate_link({"type": "magiclink", "email": email})).properties.hashed_token
        for _ in range(2)
    ]
    assert call(stack, "POST", "/verify", json={"type": "magiclink", "token_hash": first}).status_code == 403
    assert call(stack, "POST", "/verify", json={"type": "signup", "token_hash": second}).status_code == 403
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        connection.execute(
            "update auth.users set recovery_sent_at = now() - interval '61 minutes' where email = %s", [email]
        )
    assert call(stack, "POST", "/verify", json={"type": "magiclink", "token_hash": second}).status_code == 403


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"token_hash": "a"}, "validation_failed", "Verify requires a verification type"),
        ({"type": "email"}, "validation_failed", "Verify requires a token or a token hash"),
        ({"type": "email", "token_hash": "a", "email": "a@b.cd"}, "validation_failed",
         "Only the token_hash and type should be provided"),
        ({"type": "nothing", "token_hash": "a"}, "validation_failed", "Invalid email verification type"),
        ({"type": "email", "token": "123456", "email": "a@b.cd"}, "LOCAL",
         "the local stack does not know codes that are typed in"),
    ],
)  # fmt: skip
def test_what_is_no_link(stack: Endpoints, body: dict[str, Any], code: str, message: str) -> None:
    response = call(stack, "POST", "/verify", json=body)
    assert (response.status_code, response.json()) == (400, {"code": code, "message": message})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"type": "invite", "email": "a@b.cd"}, "links of the type invite"),
        ({"type": "magiclink", "email": "no@b.cd"}, "links for addresses without an account"),
    ],
)
def test_links_that_the_local_stack_does_not_know(stack: Endpoints, body: dict[str, Any], message: str) -> None:
    response = call(stack, "POST", "/admin/generate_link", token=stack.service_role_key, json=body)
    assert response.json() == {"code": "LOCAL", "message": f"the local stack does not know {message}"}
    assert call(stack, "POST", "/admin/generate_link", token=stack.anon_key, json=body).status_code == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/verify"), ("POST", "/resend"), ("GET", "/authorize"), ("GET", "/otp"), ("DELETE", "/user"),
     ("POST", "/factors"), ("GET", "/nothing")],
)  # fmt: skip
def test_what_the_local_stack_does_not_know(stack: Endpoints, method: str, path: str) -> None:
    response = call(stack, method, path)
    message = f"the local stack does not know {method} /auth/v1{path}"
    assert (response.status_code, response.json()) == (400, {"code": "LOCAL", "message": message})
