import sys
from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.http import HttpSettings
from worker.settings import Settings, environment_name, example, load_settings, load_source_settings
from worker.sources.jobspy import JobSpySettings

REQUIRED = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "key"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(environment_name(field), raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def test_the_example_file_is_what_the_settings_are() -> None:
    committed = Path(__file__).parents[2] / ".env.example"
    assert committed.read_text() == example(), "run: python -m worker settings > .env.example"


def test_the_example_with_the_required_values_filled_in_is_valid(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(example())
    settings = load_settings()
    assert settings.concurrency == 5
    assert settings.jobspy_proxies == ()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SUPABASE_URL", "abc.supabase.co", "must be an address"),
        ("SUPABASE_URL", "ftp://abc.supabase.co", "must be an address"),
        ("WORKER_CONCURRENCY", "0", "greater than or equal to 1"),
        ("WORKER_CONCURRENCY", "many", "valid integer"),
        ("WORKER_LEASE_SECONDS", "1", "greater than or equal to 5"),
        ("WORKER_LOG_FORMAT", "xml", "'auto', 'json' or 'pretty'"),
        ("SUPABASE_URL", "http://abc.supabase.co:99999", "Port out of range"),
        ("JOBSPY_PROXIES", "http://a:1,http://user:hunter2@h:99999", "number 2 is not [scheme://]"),
        ("JOBSPY_PROXIES", "http://a:1,ftp://user:hunter2@h:99", "number 2 has the scheme 'ftp'; allowed: http"),
        ("JOBSPY_CA_CERT", "/no/such/file", "there is no file"),
        ("WORKER_HTTP_CA_CERT", "/no/such/file", "there is no file"),
        ("WORKER_HTTP_PROXIES", "h:1,http://user:hunter2@h:99999", "number 2 is not [scheme://]"),
        ("WORKER_HTTP_PROXIES", "socks4://h:1", "number 1 has the scheme 'socks4'; allowed: http, https, socks5"),
        ("WORKER_HTTP_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("WORKER_USER_AGENT", "ünser", "must be printable ASCII"),
        ("JSEARCH_API_KEY", "hunter 2", "white space"),
        ("JSEARCH_HOST", "example.com", "'jsearch.p.rapidapi.com' or 'api.openwebninja.com'"),
        ("UNIPILE_DSN", "http://api8.unipile.com/hunter2", "must be HOST:PORT, such as api8.unipile.com:13851"),
        ("WORKER_EMBEDDING_URL", "api.openai.com/v1", "must be an address such as https://api.openai.com/v1"),
        ("WORKER_EMBEDDING_URL", "https://api.openai.com/v1?key=hunter2", "must be an address"),
        ("WORKER_EMBEDDING_API_KEY", "hunter2\n", "white space"),
        ("WORKER_EMBEDDING_BATCH", "5000", "less than or equal to 2048"),
        ("WORKER_EMBEDDING_SEND_DIMENSIONS", "perhaps", "valid boolean"),
        ("JOBSPY_PAGE_DELAY_SECONDS", "5", "must be MIN,MAX"),
        ("JOBSPY_PAGE_DELAY_SECONDS", "3,", "valid number"),
        ("JOBSPY_PAGE_DELAY_SECONDS", "5,1", "must be MIN,MAX"),
        ("JOBSPY_PAGE_DELAY_SECONDS", "-1,1", "must be MIN,MAX"),
        ("JOBSPY_PAGE_DELAY_SECONDS", "1,inf", "must be MIN,MAX"),
    ],
)
def test_a_wrong_setting_is_named_as_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert str(error.value).startswith(f"{name}: ")
    assert expected in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_socks_proxy_names_the_package_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socks", None)  # as if it were not installed
    monkeypatch.setenv("JOBSPY_PROXIES", "socks5://h:99")
    with pytest.raises(SettingsError, match=r"^JOBSPY_PROXIES: number 1 is a SOCKS proxy, which needs the package"):
        load_settings()


def test_a_socks_proxy_of_the_other_sources_needs_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("WORKER_HTTP_PROXIES", "socks5://h:99")
    with pytest.raises(SettingsError, match=r"^WORKER_HTTP_PROXIES: number 1 is a SOCKS proxy, .* httpx\[socks\]$"):
        load_settings()


def test_sources_need_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_URL")
    monkeypatch.setenv("WORKER_HTTP_PROXIES", "h:8080, http://user:hunter2@proxy ,")
    monkeypatch.setenv("WORKER_HTTP_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("WORKER_USER_AGENT", "acme-jobs")
    monkeypatch.setenv("WORKER_CONCURRENCY", "many")
    assert load_source_settings().http == HttpSettings(
        proxies=("h:8080", "http://user:hunter2@proxy"), timeout_seconds=7, user_agent="acme-jobs"
    )


def test_what_the_settings_take_the_source_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSPY_PROXIES", "h:8080, user:hunter2@proxy ,https://[::1]:1")
    monkeypatch.setenv("JOBSPY_PAGE_DELAY_SECONDS", "0, 1.5")
    settings = load_settings()
    assert settings.jobspy_proxies == ("h:8080", "user:hunter2@proxy", "https://[::1]:1")
    assert settings.jobspy_page_delay_seconds == (0.0, 1.5)
    JobSpySettings(proxies=settings.jobspy_proxies, page_delay_seconds=settings.jobspy_page_delay_seconds)


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_URL")
    monkeypatch.setenv("WORKER_CLAIM_BATCH", "-1")
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["SUPABASE_URL", "WORKER_CLAIM_BATCH"]


def test_a_key_is_asked_for_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY")
    settings = load_settings()
    with pytest.raises(SettingsError, match=r"^SUPABASE_SERVICE_ROLE_KEY: is required"):
        settings.require("supabase_service_role_key")


def test_either_key_family_and_the_frontend_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_abc")
    monkeypatch.setenv("NEXT_PUBLIC_SUPABASE_ANON_KEY", "anon")
    settings = load_settings()
    assert settings.require("supabase_service_role_key") == "sb_secret_abc"
    assert settings.require("supabase_anon_key") == "anon"


def test_secrets_do_not_show() -> None:
    assert "key" not in repr(load_settings().supabase_service_role_key)


def test_a_model_elsewhere_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_EMBEDDING_MODEL", "text-embedding-3-small")
    with pytest.raises(SettingsError, match=r"^WORKER_EMBEDDING_URL: is required for every model but wordllama$"):
        load_settings()
    monkeypatch.setenv("WORKER_EMBEDDING_URL", "https://api.openai.com/v1/")
    assert load_settings().embedding_url == "https://api.openai.com/v1"


def test_the_offline_model_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_EMBEDDING_MODEL", "wordllama")
    assert load_settings().embedding_model == "wordllama"
