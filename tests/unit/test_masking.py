from __future__ import annotations

import string
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.http.masking import MASK, mask, proxy_secrets, request_secrets

# The mask itself may show.
SECRETS = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=1, max_size=12)
WORDS = st.text(string.ascii_letters + string.digits + "-_.!~", min_size=1, max_size=12)


@given(secrets=st.lists(SECRETS, min_size=1, max_size=4), text=st.text(max_size=30), data=st.data())
def test_no_secret_is_left_however_it_is_written(secrets: list[str], text: str, data: st.DataObject) -> None:
    for secret in secrets:
        written = data.draw(st.sampled_from([secret, quote(secret, safe=""), quote_plus(secret)]))
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + written + text[place:]
    masked = mask(text, secrets)
    for secret in secrets:
        assert all(form not in masked for form in (secret, quote(secret, safe=""), quote_plus(secret)))


@given(text=st.text(max_size=60).filter(lambda text: "@" not in text))
def test_text_without_secrets_stays(text: str) -> None:
    assert mask(text) == text
    assert mask(text, ["", "not in it: \0\1\2"]) == text


@given(user=WORDS, password=WORDS, host=WORDS, scheme=st.sampled_from(["", "http://", "https://", "socks5://"]))
def test_nothing_of_a_proxy_but_its_host_shows(user: str, password: str, host: str, scheme: str) -> None:
    proxy = f"{scheme}{user}:{quote(password, safe='')}@{host}:8080"
    secrets = [*proxy_secrets([proxy])]
    assert f"{user}:{password}" in secrets
    assert mask(f"<{user}:{password}>", secrets) == f"<{MASK}>"
    assert password not in mask(f"<{password}> | {proxy}", secrets).replace(host, "")


@pytest.mark.parametrize(
    ("text", "proxies", "expected"),
    [
        ("http://user:hunter2@h:80 failed", ["http://user:hunter2@h:80"], "http://***@h:80 failed"),
        ("user:hunter2 failed; hunter2", ["user:hunter2@h"], "*** failed; ***"),
        ("p%40ss or p@ss", ["http://u:p%40ss@h"], "*** or ***"),
        ("at http://other:secret@h", [], "at http://***@h"),
        ("at http://***@no%host:80", ["http://a:b@no%host:80"], "at http://***@no%host:80"),
        ("no proxy", ["localhost", "http://h:80"], "no proxy"),
    ],
)
def test_passwords_of_proxies(text: str, proxies: list[str], expected: str) -> None:
    assert mask(text, proxy_secrets(proxies)) == expected


def test_proxies_without_a_user_have_no_secret() -> None:
    assert [*proxy_secrets(["http://h:80", "h", "localhost"])] == []


def test_credentials_of_requests_are_known_by_their_names() -> None:
    headers = {"X-API-Key": "a", "Authorization": "Bearer b", "Accept": "json", "X-RapidAPI-Host": "h"}
    params = {"key": "c", "api_token": "d", "page": 1, "keywords": "x", "client_secret": unquote("e%20f")}
    assert set(request_secrets(headers, params, None)) == {"a", "Bearer b", "b", "c", "d", "e f", "f"}
