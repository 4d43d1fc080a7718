"""Settings of the worker, of its HTTP client and of the sources: one rule for all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from tests.support.receiver import SECRET
from worker.cli.settings import all_settings_classes, example, read_settings, search_settings_classes
from worker.errors import SettingsError
from worker.http import Exit, HttpSettings
from worker.http.exits import OWN_ADDRESS
from worker.settings import EnvironmentSettings, SearchSettings, Settings, forget_environment
from worker.sources.jobspy import JobSpySettings
from worker.sources.jsearch import JSearchSettings
from worker.sources.unipile import UnipileSettings
from worker.sources.youtube import YouTubeSettings

REQUIRED = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "key"}
CLASSES: list[type[EnvironmentSettings]] = [
    Settings,
    HttpSettings,
    JobSpySettings,
    JSearchSettings,
    UnipileSettings,
    YouTubeSettings,
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for settings in CLASSES:
        for field in settings.model_fields:
            for name in settings.environment_names(field):
                monkeypatch.delenv(name, raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def test_the_example_file_is_what_the_settings_are() -> None:
    committed = Path(__file__).parents[2] / ".env.example"
    assert committed.read_text() == example(), "run: python -m worker settings > .env.example"


def test_the_example_with_the_required_values_filled_in_is_valid(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(example())
    settings = read_settings(all_settings_classes())
    assert settings[Settings].concurrency == 5
    assert [each.name for each in settings[HttpSettings].all_exits()] == ["direct"]
    assert settings[HttpSettings].user_agent.startswith("supabase-search-worker/")


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
        ("JOBSPY_CA_CERT", "/no/such/file", "there is no file"),
        ("WORKER_HTTP_CA_CERT", "/no/such/file", "there is no file"),
        ("WORKER_EXITS", "direct,a=http://user:hunter2@h:99999", "number 2: address must be [scheme://]"),
        ("WORKER_EXITS", "a=ftp://user:hunter2@h:99", "number 1: address has the scheme 'ftp'; allowed: http"),
        ("WORKER_EXITS", "http://user:hunter2@h:99", "must be NAME=ADDRESS for each proxy"),
        ("WORKER_EXITS", "a=h:1,a=h:2", "the name a occurs twice"),
        ("WORKER_EXITS", "a", "needs an address, unless its name is direct"),
        ("WORKER_EXITS", "direct=h:1", "needs an address, unless its name is direct, which has none"),
        ("WORKER_EXITS", ",".join(f"e{n}=h:1" for n in range(101)), "must be 100 exits at most"),
        ("WORKER_EXITS_FILE", "/no/such/file", "there is no file"),
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
        read_settings(all_settings_classes())
    assert str(error.value).startswith(f"{name}: ")
    assert expected in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_sources_need_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_URL")
    monkeypatch.setenv("WORKER_EXITS", "direct, two=http://user:hunter2@proxy ,")
    monkeypatch.setenv("WORKER_HTTP_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("WORKER_USER_AGENT", "acme-jobs")
    monkeypatch.setenv("WORKER_CONCURRENCY", "many")
    monkeypatch.setenv("WORKER_SITE_TIMEOUT_SECONDS", "8")
    settings = read_settings(search_settings_classes())
    assert settings[SearchSettings].site_timeout_seconds == 8
    for name in ("WORKER_EXITS", "WORKER_HTTP_TIMEOUT_SECONDS", "WORKER_USER_AGENT"):
        monkeypatch.delenv(name)
    assert settings[HttpSettings] == HttpSettings(
        exits=(OWN_ADDRESS, Exit(name="two", address="http://user:hunter2@proxy")),
        timeout_seconds=7,
        user_agent="acme-jobs",
    )


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSPY_PAGE_DELAY_SECONDS", "0, 1.5")
    assert JobSpySettings().page_delay_seconds == (0.0, 1.5)


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_URL")
    wrong = {"WORKER_CLAIM_BATCH": "-1", "WORKER_HTTP_TIMEOUT_SECONDS": "0", "UNIPILE_DSN": "x y"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        read_settings(all_settings_classes())
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["SUPABASE_URL", *wrong]


def test_a_key_is_asked_for_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY")
    settings = Settings()
    with pytest.raises(SettingsError, match=r"^SUPABASE_SERVICE_ROLE_KEY: is required"):
        settings.require("supabase_service_role_key")


def test_either_key_family_and_the_frontend_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_abc")
    monkeypatch.setenv("NEXT_PUBLIC_SUPABASE_ANON_KEY", "anon")
    settings = Settings()
    assert settings.require("supabase_service_role_key") == "sb_secret_abc"
    assert settings.require("supabase_anon_key") == "anon"


def test_secrets_do_not_show() -> None:
    assert "key" not in repr(Settings().supabase_service_role_key)


def test_a_model_elsewhere_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_EMBEDDING_MODEL", "text-embedding-3-small")
    with pytest.raises(SettingsError, match=r"^WORKER_EMBEDDING_URL: is required for every model but wordllama$"):
        Settings()
    monkeypatch.setenv("WORKER_EMBEDDING_URL", "https://api.openai.com/v1/")
    assert Settings().embedding_url == "https://api.openai.com/v1"


def test_the_offline_model_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_EMBEDDING_MODEL", "wordllama")
    assert Settings().embedding_model == "wordllama"


# By name in a program ------------------------------------------------------------------------------------------------

EXITS_FILE = Path(__file__).parent / "data" / "exits.toml"
VALUES: dict[str, Any] = {
    "supabase_url": "https://other.supabase.co", "supabase_email": "ada@example.com", "worker_id": "one",
    "outage_seconds": 70, "spool_dir": Path("elsewhere"), "backup_dir": Path("backup"), "log_format": "json",
    "log_level": "ERROR",
    "embedding_model": "wordllama", "embedding_url": "https://api.openai.com/v1", "embedding_send_dimensions": False,
    "webhook_secrets": SecretStr(f"crm={SECRET}"), "webhooks_allow_private": True,
    "memory_mb": 512, "http_port": 9000, "http_host": "::1",
    "alert_urls": SecretStr("json://example.com"),
    "exits": (OWN_ADDRESS,), "exits_file": EXITS_FILE,
    "ca_cert": Path(__file__), "page_delay_seconds": (1.0, 2.0), "user_agent": "acme-jobs",
    "host": "api.openwebninja.com", "version": "v1", "dsn": "api9.unipile.com:13851",
}  # fmt: skip


def other_value(settings: type[EnvironmentSettings], field: str) -> Any:
    """A valid value that is not the default."""
    if field in VALUES:
        return VALUES[field]
    annotation = settings.model_fields[field].annotation
    return 7 if annotation in (int, float) else SecretStr("another-key")


@pytest.mark.parametrize(
    ("settings", "field"), [(settings, field) for settings in CLASSES for field in settings.model_fields]
)
def test_every_name_of_a_field_works(settings: type[EnvironmentSettings], field: str) -> None:
    value = other_value(settings, field)
    for name in (field, *settings.environment_names(field)):
        assert getattr(settings(**{name: value}), field) == value, name


@pytest.mark.parametrize("settings", CLASSES)
def test_an_unknown_argument_is_an_error(settings: type[EnvironmentSettings]) -> None:
    with pytest.raises(SettingsError, match=rf"^zzz: is not a setting of {settings.__name__}; allowed: \w+"):
        settings(zzz=7)


def test_a_misspelt_argument_gets_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"^concurency: is not a setting of Settings; did you mean concurrency\?$"):
        Settings(concurency=7)  # type: ignore[call-arg]  # what a program without type checks does
    misspelt = {"WORKER_CONCURENCY": 7}
    with pytest.raises(SettingsError, match=r"^WORKER_CONCURENCY: .* did you mean WORKER_CONCURRENCY\?$"):
        Settings(**misspelt)  # type: ignore[arg-type]  # as above


def test_two_names_of_one_field_are_an_error() -> None:
    values: dict[str, Any] = {"concurrency": 7, "WORKER_CONCURRENCY": 8}
    with pytest.raises(SettingsError, match=r"^concurrency, WORKER_CONCURRENCY: are one setting"):
        Settings(**values)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("concurrency", 0, "concurrency: must be greater than or equal to 1"),
        ("WORKER_CONCURRENCY", "many", "WORKER_CONCURRENCY: must be a valid integer"),
        ("log_format", "xml", "log_format: must be 'auto', 'json' or 'pretty'"),
        ("NEXT_PUBLIC_SUPABASE_URL", "hunter2", "NEXT_PUBLIC_SUPABASE_URL: must be an address such as https://"),
        ("supabase_anon_key", "hunter 2", "supabase_anon_key: has white space"),
    ],
)
def test_a_wrong_argument_is_named_as_it_was_given(name: str, value: object, message: str) -> None:
    values: dict[str, Any] = {name: value}
    with pytest.raises(SettingsError) as raised:
        Settings(**values)
    assert str(raised.value).startswith(message)
    assert "hunter" not in str(raised.value)


def test_arguments_go_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("WORKER_CONCURRENCY=2\nWORKER_CLAIM_BATCH=2\nWORKER_LEASE_SECONDS=20\n")
    monkeypatch.setenv("WORKER_CONCURRENCY", "3")
    monkeypatch.setenv("WORKER_CLAIM_BATCH", "3")
    monkeypatch.setenv("NEXT_PUBLIC_SUPABASE_URL", "https://other.supabase.co")
    settings = Settings(concurrency=4, supabase_url="https://mine.supabase.co")
    assert (settings.concurrency, settings.claim_batch, settings.lease_seconds) == (4, 3, 20)
    assert settings.supabase_url == "https://mine.supabase.co"
    assert Settings(_env_file=None).lease_seconds == 60  # type: ignore[call-arg]  # of pydantic-settings


def test_variables_of_others_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CONCURRENCY=9\nEXITS=a=http://x:1\nNEXT_PUBLIC_SITE=a\n")
    fields = [(settings, field) for settings in CLASSES for field in settings.model_fields]
    ours = {name for settings, field in fields for name in settings.environment_names(field)}
    for name in {field.upper() for _, field in fields} - ours:
        monkeypatch.setenv(name, "of another program")
    assert Settings().concurrency == 5
    assert HttpSettings().exits == ()
    assert JSearchSettings().api_key is None


# Of a source that a package adds -------------------------------------------------------------------------------------


class FlatSettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="FLATBOARD_")

    api_key: SecretStr | None = Field(default=None, description="Key of Flatboard.")
    region: str = Field(default="eu", validation_alias=AliasChoices("FLATBOARD_REGION", "FLAT_REGION"))


def test_a_prefix_names_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FlatSettings.environment_names("api_key") == ("FLATBOARD_API_KEY",)
    monkeypatch.setenv("FLATBOARD_API_KEY", "from the environment")
    monkeypatch.setenv("FLAT_REGION", "us")
    settings = FlatSettings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "from the environment"
    assert settings.region == "us"
    values: dict[str, Any] = {"FLATBOARD_API_KEY": "an argument", "region": "uk"}
    assert FlatSettings(**values) == FlatSettings(api_key=SecretStr("an argument"), region="uk")


class CityboardSettings(EnvironmentSettings):
    cities: list[str] = Field(default=["Berlin"], validation_alias="CITYBOARD_CITIES")
    least: int = 1
    most: int = 2
    key: str = Field(default=..., validation_alias="CITYBOARD_KEY")

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        if self.least > self.most:
            raise ValueError("least must not be above most")
        return self


def test_whatever_is_wrong_is_an_error_of_this_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^CITYBOARD_KEY: is required\.$"):
        CityboardSettings()
    monkeypatch.setenv("CITYBOARD_CITIES", '["London", "Paris"]')
    assert CityboardSettings(key="k").cities == ["London", "Paris"]
    with pytest.raises(SettingsError, match=r"^CityboardSettings: least must not be above most$"):
        CityboardSettings(key="k", least=3)
    monkeypatch.setenv("CITYBOARD_CITIES", "London, Paris")
    with pytest.raises(SettingsError, match=r"\"cities\""):
        CityboardSettings(key="k")


def test_the_environment_forgets_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLATBOARD_API_KEY", "flat_region", "WORKER_CONCURRENCY", "JSEARCH_API_KEY", "OTHER"):
        monkeypatch.setenv(name, "1")
    forget_environment([Settings, FlatSettings])
    assert not {"FLATBOARD_API_KEY", "flat_region", "WORKER_CONCURRENCY", "SUPABASE_URL"} & os.environ.keys()
    assert {"JSEARCH_API_KEY", "OTHER"} <= os.environ.keys()
