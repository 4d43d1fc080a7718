"""How a worker sends requests to sites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from worker.errors import SettingsError
from worker.http.exits import OWN_ADDRESS, Exit, Exits, exits_in_file
from worker.settings import EnvironmentSettings, ExistingFile
from worker.version import DISTRIBUTION, __version__


def _check_user_agent(text: str) -> str:
    if not re.fullmatch("[!-~]([ -~]*[!-~])?", text):
        raise ValueError("must be printable ASCII")
    return text


class HttpSettings(EnvironmentSettings):
    """How the sources send requests to sites. JobSpy has its own client, and uses the exits alone.

    Attributes:
        exits: The ways out to the sites; none: those of `exits_file`, otherwise the worker's own address.
        exits_file: TOML file of exits, instead of `exits`.
        ca_cert: PEM file of the certificates to trust instead of the usual ones, for proxies that open TLS.
        timeout_seconds: Timeout of one request, from connecting to the last byte.
        user_agent: The header `User-Agent` (RFC 9110, 10.1.5).
        backoff_seconds: Longest pause before the first retry of a request; twice that before the second.
    """

    exits: Exits = Field(
        default=(),
        validation_alias="WORKER_EXITS",
        description="The ways out to the sites, separated by commas: NAME=http://user:password@host:port for each "
        "proxy, and direct for the worker's own address. Default: direct.",
    )
    exits_file: ExistingFile | None = Field(
        default=None,
        validation_alias="WORKER_EXITS_FILE",
        description="TOML file with the exits, instead of WORKER_EXITS: also which sites may use them, their weights "
        "and rotating gateways.",
    )
    ca_cert: ExistingFile | None = Field(
        default=None,
        validation_alias="WORKER_HTTP_CA_CERT",
        description="File with the certificates to trust, for a proxy that opens TLS.",
    )
    timeout_seconds: float = Field(
        default=30,
        validation_alias="WORKER_HTTP_TIMEOUT_SECONDS",
        gt=0,
        le=300,
        description="Timeout of one request to a site in seconds, from connecting to the last byte.",
    )
    user_agent: Annotated[str, AfterValidator(_check_user_agent)] = Field(
        default_factory=lambda: f"{DISTRIBUTION}/{__version__}",  # not shown as a value in .env.example
        validation_alias="WORKER_USER_AGENT",
        max_length=200,
        description=f"The User-Agent of requests to these sites. Default: {DISTRIBUTION}/VERSION.",
    )
    backoff_seconds: float = Field(
        default=1,
        validation_alias="WORKER_HTTP_BACKOFF_SECONDS",
        ge=0,
        le=60,
        description="Longest pause in seconds before the first retry of a request; twice that before the second.",
    )

    @field_validator("exits_file")
    @classmethod
    def _holds_exits(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            if info.data.get("exits"):
                raise ValueError(f"must not be set together with {cls.environment_name('exits')}")
            exits_in_file(value)
        return value

    def all_exits(self) -> tuple[Exit, ...]:
        """Return the exits of the list or the file; without both, the worker's own address.

        Raises:
            SettingsError: The file was valid when the settings were read, and is not any more.
        """
        if self.exits_file is None:
            return self.exits or (OWN_ADDRESS,)
        try:
            return exits_in_file(self.exits_file)
        except ValueError as error:
            raise SettingsError(f"{self.environment_name('exits_file')}: {error}") from None
