"""Every environment variable that the worker reads, typed. `.env.example` repeats them, and a test keeps it true."""

from __future__ import annotations

import os
import re
import socket
import textwrap
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.pipeline.offline_embedding import OFFLINE_MODEL
from worker.sources.jobspy import problem_of_page_delay, problem_of_proxies


class SettingsError(Exception):
    """A setting is missing or wrong. The message has a line for each, named as in the environment."""


class Settings(BaseSettings):
    """Settings from the environment, or from a file `.env` in the working directory."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    supabase_url: str = Field(
        validation_alias=AliasChoices("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"),
        description="Address of the Supabase project, such as https://abcdefgh.supabase.co.",
    )
    supabase_service_role_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"),
        description="The worker's key: the service_role JWT or an sb_secret_ key. Never give it to a browser.",
    )
    supabase_anon_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "SUPABASE_ANON_KEY",
            "SUPABASE_PUBLISHABLE_KEY",
            "NEXT_PUBLIC_SUPABASE_ANON_KEY",
            "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY",
        ),
        description="The key of users: for the commands enqueue, watch and runs alone.",
    )

    supabase_email: str | None = Field(
        default=None,
        validation_alias="SUPABASE_EMAIL",
        description="User that the commands enqueue, watch and runs sign in as. "
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
    site_timeout_seconds: float = Field(
        default=300,
        validation_alias="WORKER_SITE_TIMEOUT_SECONDS",
        gt=0,
        le=3600,
        description="Hard limit for searching one site; the search is killed then, its pages stay.",
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
    embedding_api_key: SecretStr | None = Field(
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

    jobspy_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        validation_alias="JOBSPY_PROXIES",
        description="Proxies for the job boards, separated by commas: http://user:password@host:port.",
    )
    jobspy_ca_cert: Path | None = Field(
        default=None,
        validation_alias="JOBSPY_CA_CERT",
        description="File with the certificates to trust, for a proxy that opens TLS.",
    )
    jobspy_page_delay_seconds: Annotated[tuple[float, float] | None, NoDecode] = Field(
        default=None,
        validation_alias="JOBSPY_PAGE_DELAY_SECONDS",
        description="Pause between two pages of a board, as MIN,MAX. Default: JobSpy's own, 3 to 7 on most.",
    )

    @field_validator("supabase_url")
    @classmethod
    def _is_http_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("must be an address such as https://abcdefgh.supabase.co")
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

    @field_validator("supabase_service_role_key", "supabase_anon_key", "embedding_api_key")
    @classmethod
    def _is_sendable(cls, value: SecretStr | None) -> SecretStr | None:
        # httpx would refuse the header, and show the key.
        if value is not None and not re.fullmatch("[!-~]+", value.get_secret_value()):
            raise ValueError("has white space or another character that no key has; copy it again")
        return value

    @field_validator("jobspy_proxies", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("jobspy_proxies")
    @classmethod
    def _are_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if problem := problem_of_proxies(value):
            raise ValueError(problem)
        return value

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

    @field_validator("jobspy_ca_cert")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

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
    for name, field in Settings.model_fields.items():
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
    try:
        return Settings()  # type: ignore[call-arg]  # its arguments come from the environment
    except ValidationError as error:
        problems = {
            _environment_name_of(problem["loc"][0]): problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        }
        raise SettingsError("\n".join(f"{name}: {text}" for name, text in problems.items())) from None


def _environment_name_of(location: str | int) -> str:
    return environment_name(location) if location in Settings.model_fields else str(location)
