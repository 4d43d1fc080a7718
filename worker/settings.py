"""Every environment variable that the worker reads, typed. `.env.example` repeats them, and a test keeps it true."""

from __future__ import annotations

import os
import re
import socket
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.errors import SettingsError
from worker.http.proxies import HTTPX_SOCKS, REQUESTS_SOCKS, SocksSupport, problem_of_proxies
from worker.http.settings import HttpSettings, default_user_agent, problem_of_user_agent
from worker.pipeline.offline_embedding import OFFLINE_MODEL
from worker.sources.jobspy import problem_of_page_delay
from worker.sources.unipile_api import read_dsn

_S = TypeVar("_S", bound="SourceSettings")


def _sendable(value: SecretStr) -> SecretStr:
    # httpx would refuse the header, and show the key.
    if not re.fullmatch("[!-~]+", value.get_secret_value()):
        raise ValueError("has white space or another character that no key has; copy it again")
    return value


def _split_at_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _usable(value: tuple[str, ...], socks: SocksSupport) -> tuple[str, ...]:
    if problem := problem_of_proxies(value, socks):
        raise ValueError(problem)
    return value


def _existing(value: Path) -> Path:
    if not value.is_file():
        raise ValueError(f"there is no file {value}")
    return value


_Key = Annotated[SecretStr, AfterValidator(_sendable)]
_Proxies = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
_ExistingFile = Annotated[Path, AfterValidator(_existing)]


class SourceSettings(BaseSettings):
    """What the sources need, from the environment or from a file `.env`: enough to search without a database."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    site_timeout_seconds: float = Field(
        default=300,
        validation_alias="WORKER_SITE_TIMEOUT_SECONDS",
        gt=0,
        le=3600,
        description="Hard limit for one page of a site, or one slice of a search with JobSpy; for all of it where a "
        "board cannot be searched in slices. The search is killed then; the pages before it stay.",
    )

    jobspy_proxies: Annotated[_Proxies, AfterValidator(partial(_usable, socks=REQUESTS_SOCKS))] = Field(
        default=(),
        validation_alias="JOBSPY_PROXIES",
        description="Proxies for the sites that JobSpy searches, separated by commas: http://user:password@host:port.",
    )
    jobspy_ca_cert: _ExistingFile | None = Field(
        default=None,
        validation_alias="JOBSPY_CA_CERT",
        description="File with the certificates to trust, for a proxy that opens TLS.",
    )
    jobspy_page_delay_seconds: Annotated[tuple[float, float] | None, NoDecode] = Field(
        default=None,
        validation_alias="JOBSPY_PAGE_DELAY_SECONDS",
        description="Pause between two pages of a board, as MIN,MAX. Default: JobSpy's own, 3 to 7 on most.",
    )

    http_proxies: Annotated[_Proxies, AfterValidator(partial(_usable, socks=HTTPX_SOCKS))] = Field(
        default=(),
        validation_alias="WORKER_HTTP_PROXIES",
        description="Proxies for the other sources, separated by commas, taken in turn: http://user:password@host:port.",
    )
    http_ca_cert: _ExistingFile | None = Field(
        default=None,
        validation_alias="WORKER_HTTP_CA_CERT",
        description="File with the certificates to trust, for a proxy that opens TLS.",
    )
    http_timeout_seconds: float = Field(
        default=30,
        validation_alias="WORKER_HTTP_TIMEOUT_SECONDS",
        gt=0,
        le=300,
        description="Timeout of one request to a site, from connecting to the last byte read.",
    )
    user_agent: str = Field(
        default_factory=default_user_agent,
        validation_alias="WORKER_USER_AGENT",
        max_length=200,
        description="What the worker calls itself when it asks these sites. Default: supabase-search-worker/VERSION.",
    )

    jsearch_api_key: _Key | None = Field(
        default=None,
        validation_alias="JSEARCH_API_KEY",
        description="Key of JSearch, for the site jsearch.",
    )
    jsearch_host: Literal["jsearch.p.rapidapi.com", "api.openwebninja.com"] = Field(
        default="jsearch.p.rapidapi.com",
        validation_alias="JSEARCH_HOST",
        description="Who gave the key: RapidAPI (jsearch.p.rapidapi.com) or OpenWeb Ninja (api.openwebninja.com).",
    )
    jsearch_version: Literal["v1", "v2"] = Field(
        default="v2",
        validation_alias="JSEARCH_VERSION",
        description="v2, or v1 for older accounts at RapidAPI, which have numbered pages instead of cursors.",
    )
    unipile_dsn: str | None = Field(
        default=None,
        validation_alias="UNIPILE_DSN",
        description="Address of the Unipile API, as its dashboard shows it: api8.unipile.com:13851.",
    )
    unipile_api_key: _Key | None = Field(
        default=None,
        validation_alias="UNIPILE_API_KEY",
        description="Key of Unipile, for the site unipile.",
    )
    youtube_api_key: _Key | None = Field(
        default=None,
        validation_alias="YOUTUBE_API_KEY",
        description="Key of the YouTube Data API v3, for the site youtube.",
    )

    @field_validator("jobspy_page_delay_seconds", mode="before")
    @classmethod
    def _split_range(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = value.split(",")
        if len(parts) != 2:  # noqa: PLR2004
            raise ValueError("must be MIN,MAX, such as 3,7")
        return parts

    @field_validator("jobspy_page_delay_seconds")
    @classmethod
    def _is_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and (problem := problem_of_page_delay(value)):
            raise ValueError(problem)
        return value

    @field_validator("user_agent")
    @classmethod
    def _is_user_agent(cls, value: str) -> str:
        if problem := problem_of_user_agent(value):
            raise ValueError(problem)
        return value

    @field_validator("unipile_dsn")
    @classmethod
    def _is_dsn(cls, value: str | None) -> str | None:
        if value is not None:
            read_dsn(value)
        return value

    @property
    def http(self) -> HttpSettings:
        """How the sources but JobSpy send requests."""
        return HttpSettings(
            proxies=self.http_proxies,
            ca_cert=self.http_ca_cert,
            timeout_seconds=self.http_timeout_seconds,
            user_agent=self.user_agent,
        )


class Settings(SourceSettings):
    """All settings of the worker."""

    supabase_url: str = Field(
        validation_alias=AliasChoices("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"),
        description="Address of the Supabase project, such as https://abcdefgh.supabase.co.",
    )
    supabase_service_role_key: _Key | None = Field(
        default=None,
        validation_alias=AliasChoices("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"),
        description="The worker's key: the service_role JWT or an sb_secret_ key. Never give it to a browser.",
    )
    supabase_anon_key: _Key | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "SUPABASE_ANON_KEY",
            "SUPABASE_PUBLISHABLE_KEY",
            "NEXT_PUBLIC_SUPABASE_ANON_KEY",
            "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY",
        ),
        description="The key of users: for the commands of a user alone, such as enqueue and watch.",
    )

    supabase_email: str | None = Field(
        default=None,
        validation_alias="SUPABASE_EMAIL",
        description="User that the commands of a user, such as enqueue and watch, sign in as. "
        "On a local stack the default is a user made for it.",
    )
    supabase_password: SecretStr | None = Field(
        default=None, validation_alias="SUPABASE_PASSWORD", description="Password of that user."
    )

    worker_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        validation_alias="WORKER_ID",
        min_length=1,
        max_length=200,
        description="Name of this worker in leases, events and logs. Default: host name and process id.",
    )
    concurrency: int = Field(
        default=5,
        validation_alias="WORKER_CONCURRENCY",
        ge=1,
        le=100,
        description="Runs searched at the same time; the sites of one run are searched one after another.",
    )
    claim_batch: int = Field(
        default=5,
        validation_alias="WORKER_CLAIM_BATCH",
        ge=1,
        le=100,
        description="Runs claimed with one request at most; never more than there are free places.",
    )
    lease_seconds: int = Field(
        default=60,
        validation_alias="WORKER_LEASE_SECONDS",
        ge=5,
        le=3600,
        description="How long a run stays with a worker that has died. Heartbeats come three times as often.",
    )
    poll_seconds: float = Field(
        default=1,
        validation_alias="WORKER_POLL_SECONDS",
        gt=0,
        le=60,
        description="Pause between two looks into the queue while there is work.",
    )
    poll_idle_seconds: float = Field(
        default=30,
        validation_alias="WORKER_POLL_IDLE_SECONDS",
        gt=0,
        le=600,
        description="Longest such pause while there is none. Realtime wakes the worker sooner.",
    )
    grace_seconds: float = Field(
        default=25,
        validation_alias="WORKER_GRACE_SECONDS",
        ge=0,
        le=300,
        description="After SIGTERM, time for running searches to finish; what is left is released. "
        "Keep it below the platform's own limit (Render: maxShutdownDelaySeconds, 30).",
    )

    request_timeout_seconds: float = Field(
        default=15,
        validation_alias="WORKER_REQUEST_TIMEOUT_SECONDS",
        gt=0,
        le=60,
        description="Timeout of one request to Supabase.",
    )
    outage_seconds: float = Field(
        default=600,
        validation_alias="WORKER_OUTAGE_SECONDS",
        ge=10,
        le=86400,
        description="How long running searches wait for Supabase to come back, before they are given up.",
    )
    spool_dir: Path = Field(
        default=Path(".local/spool"),
        validation_alias="WORKER_SPOOL_DIR",
        description="Folder for fetched pages that cannot be saved while Supabase is out of reach, or that it refused.",
    )
    backup_dir: Path | None = Field(
        default=None,
        validation_alias="WORKER_BACKUP_DIR",
        description="Folder for a copy of every fetched page, by day (YYYY/MM/DD). Default: none.",
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        default="auto",
        validation_alias="WORKER_LOG_FORMAT",
        description="json lines, pretty for people, or auto: pretty on a terminal.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="WORKER_LOG_LEVEL", description="Least level that is logged."
    )

    embedding_model: str | None = Field(
        default=None,
        validation_alias="WORKER_EMBEDDING_MODEL",
        min_length=1,
        max_length=200,
        description="Model that embeds items: wordllama, which needs no network (extra embed), or the name of one at "
        "WORKER_EMBEDDING_URL, such as text-embedding-3-small. Default: nothing is embedded.",
    )
    embedding_url: str | None = Field(
        default=None,
        validation_alias="WORKER_EMBEDDING_URL",
        validate_default=True,
        description="Address of an endpoint that speaks OpenAI's protocol, up to the version: https://api.openai.com/v1.",
    )
    embedding_api_key: _Key | None = Field(
        default=None, validation_alias="WORKER_EMBEDDING_API_KEY", description="Its key, if it needs one."
    )
    embedding_batch: int = Field(
        default=100,
        validation_alias="WORKER_EMBEDDING_BATCH",
        ge=1,
        le=2048,
        description="Texts sent to it with one request at most.",
    )
    embedding_send_dimensions: bool = Field(
        default=True,
        validation_alias="WORKER_EMBEDDING_SEND_DIMENSIONS",
        description="Whether to ask it for vectors of 256 dimensions; false for a model that has no others.",
    )

    @field_validator("supabase_url")
    @classmethod
    def _is_http_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("must be an address such as https://abcdefgh.supabase.co")
        if "@" in parts.netloc:
            # It would be in logs and messages; and with the key in its header a request has no room for it.
            raise ValueError("must hold no user and no password")
        return value.rstrip("/")

    @field_validator("embedding_url")
    @classmethod
    def _is_endpoint(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            if info.data.get("embedding_model") not in (None, OFFLINE_MODEL):
                raise ValueError(f"is required for every model but {OFFLINE_MODEL}")
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an address such as https://api.openai.com/v1")
        return value.rstrip("/")

    def require(self, name: Literal["supabase_service_role_key", "supabase_anon_key"]) -> str:
        """Return a key that only some commands need.

        Raises:
            SettingsError: The key is not set.
        """
        key: SecretStr | None = getattr(self, name)
        if key is None:
            raise SettingsError(f"{environment_name(name)}: is required ({describe(name)})")
        return key.get_secret_value()


def environment_name(field: str) -> str:
    """Return the environment variable of a field; the first, where it has several."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias)


def describe(field: str) -> str:
    """Return what a field is for."""
    return Settings.model_fields[field].description or ""


def example() -> str:
    """Return every setting with its meaning and its default, in the form of an environment file."""
    lines = [
        "# Settings of the worker: copy to .env, or set in the environment. A line that is commented out is a default."
    ]
    # Where it works for comes first, then what it searches with.
    for name in sorted(Settings.model_fields, key=SourceSettings.model_fields.__contains__):
        field = Settings.model_fields[name]
        lines += ["", *textwrap.wrap(describe(name), 118, initial_indent="# ", subsequent_indent="# ")]
        alias = field.validation_alias
        if isinstance(alias, AliasChoices) and len(alias.choices) > 1:
            others = ", ".join(str(choice) for choice in alias.choices[1:])
            lines += textwrap.wrap(f"Also read from {others}.", 118, initial_indent="# ", subsequent_indent="# ")
        if field.is_required() or field.default is None or field.default_factory is not None:
            lines.append(f"{environment_name(name)}=")
        else:
            default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
            lines.append(f"# {environment_name(name)}={str(default).lower() if isinstance(default, bool) else default}")
    return "\n".join(lines) + "\n"


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: With one line for each setting that is missing or wrong. Values are not repeated:
            they may be secrets.
    """
    return _load(Settings)


def load_source_settings() -> SourceSettings:
    """Read the settings of the sources alone.

    Raises:
        SettingsError: As above.
    """
    return _load(SourceSettings)


def forget_environment() -> None:
    """Take every setting out of the environment, for good: what is started from here on inherits none of them."""
    read = {environment.lower() for name in Settings.model_fields for environment in _names_of(name)}
    for name in [name for name in os.environ if name.lower() in read]:
        del os.environ[name]


def _names_of(field: str) -> Iterator[str]:
    alias = Settings.model_fields[field].validation_alias
    yield from map(str, alias.choices if isinstance(alias, AliasChoices) else (alias,))


def _load(settings: type[_S]) -> _S:
    try:
        return settings()
    except ValidationError as error:
        problems = {
            _environment_name_of(problem["loc"][0]): problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        }
        raise SettingsError("\n".join(f"{name}: {text}" for name, text in problems.items())) from None


def _environment_name_of(location: str | int) -> str:
    return environment_name(location) if location in Settings.model_fields else str(location)
