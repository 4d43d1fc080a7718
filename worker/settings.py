"""Settings from the environment: the base class of all settings classes, and the settings of the worker itself."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import socket
from base64 import b64decode
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from worker.errors import SettingsError

OFFLINE_MODEL = "wordllama"

DEFAULT_SITE_TIMEOUT_SECONDS = 300

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
WEBHOOK_SECRET_PREFIX = "whsec_"  # noqa: S105 (the prefix is public)
WEBHOOK_SECRET_BYTES = range(24, 65)
MAX_SECRETS = 2
"""Maximum number of secrets of a webhook endpoint: the old one and the new one while they are rotated."""
_SCHEME = r"[A-Za-z][A-Za-z0-9]{0,31}://"
ENDPOINT_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"

_ENV_FILE_OPTIONS = frozenset(
    name for name in inspect.signature(BaseSettings.__init__).parameters if name.startswith("_")
)
"""Arguments of pydantic-settings itself, such as `_env_file`."""


def _check_sendable(value: SecretStr) -> SecretStr:
    # httpx would refuse the header, and show the key.
    if not re.fullmatch("[!-~]+", value.get_secret_value()):
        raise ValueError("has white space or another character that no key has; copy it again")
    return value


def _check_exists(value: Path) -> Path:
    if not value.is_file():
        raise ValueError(f"there is no file {value}")
    return value


ApiKey = Annotated[SecretStr, AfterValidator(_check_sendable)]
"""A key that is sent in a header. It does not appear in logs, messages or `repr`."""


def _check_webhook_secrets(value: SecretStr) -> SecretStr:
    secrets_by_endpoint(value.get_secret_value())
    return value


def secrets_by_endpoint(text: str) -> dict[str, tuple[str, ...]]:
    """Return the secrets of each webhook endpoint by its name.

    Args:
        text: `NAME=whsec_...`, separated by commas.

    Raises:
        ValueError: An entry is wrong. The message names the endpoint, and no secret.
    """
    found: dict[str, tuple[str, ...]] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, secret = entry.partition("=")
        if not re.fullmatch(ENDPOINT_NAME, name):
            raise ValueError("must be NAME=whsec_..., with a name of small letters, digits, - and _")
        if not _is_webhook_secret(secret):
            raise ValueError(f"{name}: must be whsec_ and base64 of 24 to 64 bytes, as `webhooks add` makes one")
        found[name] = (*found.get(name, ()), secret)
        if len(found[name]) > MAX_SECRETS:
            raise ValueError(f"{name}: has more than {MAX_SECRETS} secrets")
    return found


def _is_webhook_secret(secret: str) -> bool:
    try:
        key = b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)
    except ValueError:
        return False
    return secret.startswith(WEBHOOK_SECRET_PREFIX) and len(key) in WEBHOOK_SECRET_BYTES


def _check_alert_urls(value: SecretStr) -> SecretStr:
    urls_in(value.get_secret_value())
    return value


def urls_in(text: str) -> tuple[str, ...]:
    """Return the addresses of a text: separated by commas or white space, and each with a scheme.

    Raises:
        ValueError: One of them is not an address. The message names its position, and nothing of it.
    """
    # An address may have commas itself.
    urls = [part.strip(" \t\r\n,") for part in re.split(rf"[\s,]+(?={_SCHEME})", f" {text}")]
    urls = [url for url in urls if url]
    for position, url in enumerate(urls, start=1):
        if not re.fullmatch(rf"{_SCHEME}\S+", url):
            raise ValueError(
                f"address {position} must be one such as mailto://user:password@example.com, without white space"
            )
    return tuple(urls)


def _check_ip_address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be an IP address, such as 127.0.0.1 or 0.0.0.0") from None


IpAddress = Annotated[str, AfterValidator(_check_ip_address)]

ExistingFile = Annotated[Path, AfterValidator(_check_exists)]


WebhookSecrets = Annotated[SecretStr, AfterValidator(_check_webhook_secrets)]


AlertUrls = Annotated[SecretStr, AfterValidator(_check_alert_urls)]


def plain(secret: SecretStr | None) -> str | None:
    """Return the text of a secret."""
    return None if secret is None else secret.get_secret_value()


class EnvironmentSettings(BaseSettings):
    """Base class of all settings classes. Fields are read from environment variables and from a file `.env`.

    The environment variable of a field is its `validation_alias`; it may have several (`AliasChoices`). Fields can be
    passed as arguments too, by their Python name or by an environment variable's name; arguments take precedence over
    the environment, and the environment over `.env`. Other variables are ignored. Instances are immutable.

    Args:
        values: Values by name.

    Raises:
        SettingsError: A value is missing or wrong, or an argument is unknown. The message has a line for each, with
            the name as it was given and what is allowed. Values are not repeated: they may be secrets.
    """

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    def __init__(self, **values: Any) -> None:
        options = {name: values.pop(name) for name in _ENV_FILE_OPTIONS & values.keys()}
        given = self._given(values)
        try:
            super().__init__(**options, **{name: values[written] for name, written in given.items()})
        except ValidationError as error:
            raise SettingsError(self._problems(error, given)) from None
        except UnreadableError as error:  # a list or an object that is not JSON in the environment
            raise SettingsError(str(error)) from None

    @classmethod
    def environment_names(cls, field: str) -> tuple[str, ...]:
        """Return the environment variables that a field is read from. Messages use the first one."""
        alias = cls.model_fields[field].validation_alias
        if alias is None:
            return (f"{cls.model_config.get('env_prefix', '')}{field}".upper(),)
        return tuple(map(str, alias.choices if isinstance(alias, AliasChoices) else (alias,)))

    @classmethod
    def environment_name(cls, field: str) -> str:
        """Return the environment variable of a field; the first one if it has several."""
        return cls.environment_names(field)[0]

    @classmethod
    def _given(cls, values: Iterable[str]) -> dict[str, str]:
        """Return the names of the arguments as they were written, by the names that pydantic uses.

        Pydantic's `populate_by_name` cannot be used: with it, fields are also read from environment variables of the
        same name, such as `PROXIES`.
        """
        fields = {
            name: cls.environment_name(field) if cls.model_fields[field].validation_alias else field
            for field in cls.model_fields
            for name in (field, *cls.environment_names(field))
        }
        given: dict[str, str] = {}
        for written in values:
            if written not in fields:
                close = difflib.get_close_matches(written, fields, n=1)
                advice = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(cls.model_fields)}"
                raise SettingsError(f"{written}: is not a setting of {cls.__name__}; {advice}")
            if (name := fields[written]) in given:
                raise SettingsError(f"{given[name]}, {written}: are one setting of {cls.__name__}; pass one of them")
            given[name] = written
        return given

    @classmethod
    def _problems(cls, error: ValidationError, given: dict[str, str]) -> str:
        problems: dict[str, str] = {}
        for problem in error.errors(include_url=False):
            name = str(problem["loc"][0]) if problem["loc"] else cls.__name__
            if name in cls.model_fields and name not in given:
                name = cls.environment_name(name)
            reason = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
            if problem["type"] == "missing":
                problems[name] = cls._required(next(f for f in cls.model_fields if name in cls.environment_names(f)))
            else:
                written = given.get(name, name)
                problems[written] = f"{written}: {reason}"
        return "\n".join(problems.values())

    @classmethod
    def _required(cls, field: str) -> str:
        return f"{cls.environment_name(field)}: is required. {cls.model_fields[field].description or ''}".rstrip()


def forget_environment(classes: Iterable[type[EnvironmentSettings]]) -> None:
    """Remove the variables of settings classes from the environment, so that child processes do not inherit them."""
    read = {
        name.lower()
        for settings in classes
        for field in settings.model_fields
        for name in settings.environment_names(field)
    }
    for name in [name for name in os.environ if name.lower() in read]:
        del os.environ[name]


class SearchSettings(EnvironmentSettings):
    """Settings of a search, with or without a database."""

    site_timeout_seconds: float = Field(
        default=DEFAULT_SITE_TIMEOUT_SECONDS,
        validation_alias="WORKER_SITE_TIMEOUT_SECONDS",
        gt=0,
        le=3600,
        description="Time limit in seconds for one page of a site. With JobSpy, for one slice of a search; for all of "
        "it where a board cannot be searched in slices. The search is stopped then; its earlier pages are kept.",
    )


class Settings(SearchSettings):
    """The worker's own settings. `Settings()` reads all of them from the environment."""

    supabase_url: str = Field(
        default=...,  # required, but type checkers must know that it may come from the environment
        validation_alias=AliasChoices("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"),
        description="Address of the Supabase project, such as https://abcdefgh.supabase.co.",
    )
    supabase_service_role_key: ApiKey | None = Field(
        default=None,
        validation_alias=AliasChoices("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"),
        description="The worker's key: the service_role JWT or an sb_secret_ key. Never give it to a browser.",
    )
    supabase_anon_key: ApiKey | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "SUPABASE_ANON_KEY",
            "SUPABASE_PUBLISHABLE_KEY",
            "NEXT_PUBLIC_SUPABASE_ANON_KEY",
            "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY",
        ),
        description="The key of users. Only the commands of a user need it, such as enqueue and watch.",
    )

    supabase_email: str | None = Field(
        default=None,
        validation_alias="SUPABASE_EMAIL",
        description="The user that commands such as enqueue and watch sign in as. "
        "On a local stack, the default is a user that they create.",
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
        description="Maximum number of concurrent runs; fewer while memory is short. The sites of one run are searched "
        "one after another.",
    )
    memory_mb: int | None = Field(
        default=None,
        validation_alias="WORKER_MEMORY_MB",
        ge=1,
        description="Memory in MiB that the worker may use with its child processes. Default: the limit of its control "
        "group (container), or the memory of the host. Needs Linux.",
    )
    claim_batch: int = Field(
        default=5,
        validation_alias="WORKER_CLAIM_BATCH",
        ge=1,
        le=100,
        description="Maximum number of runs claimed with one request; never more than can be searched at once.",
    )
    lease_seconds: int = Field(
        default=60,
        validation_alias="WORKER_LEASE_SECONDS",
        ge=5,
        le=3600,
        description="Time in seconds after which the runs of a dead worker are rescued; it covers three heartbeats.",
    )
    poll_seconds: float = Field(
        default=1,
        validation_alias="WORKER_POLL_SECONDS",
        gt=0,
        le=60,
        description="Pause in seconds between two polls of the queue while there is work.",
    )
    poll_idle_seconds: float = Field(
        default=30,
        validation_alias="WORKER_POLL_IDLE_SECONDS",
        gt=0,
        le=600,
        description="Longest such pause while there is no work. Realtime wakes the worker sooner.",
    )
    grace_seconds: float = Field(
        default=25,
        validation_alias="WORKER_GRACE_SECONDS",
        ge=0,
        le=300,
        description="Time in seconds for running searches to end after SIGTERM; the others are released. "
        "Keep it below the limit of the platform (Render: maxShutdownDelaySeconds, 30).",
    )

    request_timeout_seconds: float = Field(
        default=15,
        validation_alias="WORKER_REQUEST_TIMEOUT_SECONDS",
        gt=0,
        le=60,
        description="Timeout of one request to Supabase, in seconds.",
    )
    outage_seconds: float = Field(
        default=600,
        validation_alias="WORKER_OUTAGE_SECONDS",
        ge=10,
        le=86400,
        description="How long running searches wait during an outage of Supabase before they are given up, in seconds.",
    )
    spool_dir: Path = Field(
        default=Path(".local/spool"),
        validation_alias="WORKER_SPOOL_DIR",
        description="Folder for fetched pages that cannot be saved: Supabase cannot be reached, or has refused them.",
    )
    backup_dir: Path | None = Field(
        default=None,
        validation_alias="WORKER_BACKUP_DIR",
        description="Folder for a copy of every fetched page, by day (YYYY/MM/DD). Default: none.",
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        default="auto",
        validation_alias="WORKER_LOG_FORMAT",
        description="json (one object per line), pretty (for people), or auto (pretty on a terminal, else json).",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="WORKER_LOG_LEVEL", description="Lowest level that is logged."
    )

    embedding_model: str | None = Field(
        default=None,
        validation_alias="WORKER_EMBEDDING_MODEL",
        min_length=1,
        max_length=200,
        description="Model that embeds items: wordllama, which needs no network (extra embed), or the name of a model "
        "at WORKER_EMBEDDING_URL, such as text-embedding-3-small. Default: nothing is embedded.",
    )
    embedding_url: str | None = Field(
        default=None,
        validation_alias="WORKER_EMBEDDING_URL",
        validate_default=True,
        description="Address of an endpoint with OpenAI's API, with the version: https://api.openai.com/v1.",
    )
    embedding_api_key: ApiKey | None = Field(
        default=None, validation_alias="WORKER_EMBEDDING_API_KEY", description="Key of this endpoint, if it needs one."
    )
    embedding_batch: int = Field(
        default=100,
        validation_alias="WORKER_EMBEDDING_BATCH",
        ge=1,
        le=2048,
        description="Maximum number of texts in one request to it.",
    )
    embedding_send_dimensions: bool = Field(
        default=True,
        validation_alias="WORKER_EMBEDDING_SEND_DIMENSIONS",
        description="Whether requests ask for 256 dimensions; false for a model that has no other vectors.",
    )

    http_port: int | None = Field(
        default=None,
        validation_alias="WORKER_HTTP_PORT",
        ge=0,
        le=65535,
        description="Port of /healthz, /readyz and /metrics (extra metrics) of the command run; 0 for any free one. "
        "Default: no port is opened.",
    )
    http_host: IpAddress = Field(
        default="127.0.0.1",
        validation_alias="WORKER_HTTP_HOST",
        description="IP address to listen on. In a container, such as on Render or Kubernetes: 0.0.0.0.",
    )

    webhook_secrets: WebhookSecrets | None = Field(
        default=None,
        validation_alias="WORKER_WEBHOOK_SECRETS",
        description="Secrets of the webhook endpoints that this worker sends to, separated by commas: NAME=whsec_..., "
        "twice for a name while its secret is rotated. Default: this worker sends no webhooks.",
    )
    webhooks_allow_private: bool = Field(
        default=False,
        validation_alias="WORKER_WEBHOOKS_ALLOW_PRIVATE",
        description="Whether webhook endpoints may have a private address, and http: for receivers in your network.",
    )
    alert_urls: AlertUrls | None = Field(
        default=None,
        validation_alias="WORKER_ALERT_URLS",
        description="Where notices of incidents are sent, as addresses of Apprise, separated by commas or white space: "
        "mailto://user:password@example.com slack://TokenA/TokenB/TokenC. Needs the extra alerts. Default: nowhere.",
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

    def webhook_secrets_by_endpoint(self) -> dict[str, tuple[str, ...]]:
        """Return the secrets of each webhook endpoint by its name."""
        return secrets_by_endpoint(plain(self.webhook_secrets) or "")

    def alert_addresses(self) -> tuple[str, ...]:
        """Return the addresses that notices of incidents are sent to."""
        return urls_in(plain(self.alert_urls) or "")

    def require(self, name: Literal["supabase_service_role_key", "supabase_anon_key"]) -> str:
        """Return the text of a key that only some commands need.

        Raises:
            SettingsError: The key is not set.
        """
        key: SecretStr | None = getattr(self, name)
        if key is None:
            raise SettingsError(self._required(name))
        return key.get_secret_value()
