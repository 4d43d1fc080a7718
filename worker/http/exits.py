"""Exits: the ways out to the sites. The worker's own address, a proxy, or a gateway that changes its address."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import NoDecode

from worker.http.masking import proxy_secrets
from worker.http.proxies import problem_of_proxy, url_of_proxy

DIRECT = "direct"
"""The name of the worker's own address."""

MAX_EXITS = 100

_NAME = "[a-z0-9][a-z0-9-]{0,39}"


class Exit(BaseModel):
    """A way out to the sites.

    Attributes:
        name: The name by which the database, logs and operators know it. Equal names of several workers are one exit.
        address: `[scheme://][user:password@]host[:port]` of a proxy; None: the worker's own address.
        rotating: Whether each request may leave from another address.
        requests_per_minute: The pace of a rotating exit at each site; None: as fast as the site answers.
        sites: The only sites that may use it; None: all.
        not_sites: Sites that must not use it.
        weight: Its share of the searches, compared with other exits.
        note: What the operator wants to read beside its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=f"^{_NAME}$")
    address: str | None = Field(default=None, repr=False)
    rotating: bool = False
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    sites: frozenset[str] | None = None
    not_sites: frozenset[str] = frozenset()
    weight: float = Field(default=1, gt=0, le=1000)
    note: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _is_consistent(self) -> Exit:
        if (self.address is None) != (self.name == DIRECT):
            raise ValueError(f"needs an address, unless its name is {DIRECT}, which has none")
        if self.address is not None and (problem := problem_of_proxy(self.address)):
            raise ValueError(f"address {problem}")
        if self.requests_per_minute is not None and not self.rotating:
            raise ValueError("requests_per_minute is for a rotating exit; others keep the pace of each site")
        if self.rotating and self.address is None:
            raise ValueError("rotating is for a gateway, which has an address")
        return self

    @property
    def proxy(self) -> str | None:
        """The URL of the proxy for all HTTP libraries; None: no proxy."""
        return None if self.address is None else url_of_proxy(self.address)

    @property
    def secrets(self) -> Iterator[str]:
        """The credentials in its address."""
        return proxy_secrets([] if self.address is None else [self.address])

    def may_reach(self, site: str) -> bool:
        """Whether a site may be searched through it."""
        return (self.sites is None or site in self.sites) and site not in self.not_sites


OWN_ADDRESS = Exit(name=DIRECT)
"""The only exit of a worker without settings of exits."""


def exits_of(exits: Iterable[Exit], site: str) -> tuple[Exit, ...]:
    """Return the exits through which a site may be searched."""
    return tuple(each for each in exits if each.may_reach(site))


def exits_in_text(text: str) -> tuple[Exit, ...]:
    """Read the short form of a setting: `NAME=ADDRESS`, or `direct`, separated by commas.

    Raises:
        ValueError: An exit is wrong. The message has no address, because that may hold a password.
    """
    return _checked([_written(part.strip()) for part in text.split(",") if part.strip()])


def exits_in_file(path: Path) -> tuple[Exit, ...]:
    """Read a file of exits: TOML with a table `[[exits]]` for each.

    Raises:
        ValueError: The file is not such a file, or an exit is wrong.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot be read as TOML: {error}") from None
    if content.keys() - {"exits"} or not isinstance(content.get("exits"), list) or not content["exits"]:
        raise ValueError("must hold a table [[exits]] for each exit, and nothing else")
    return _checked(content["exits"])


def checked_exits(exits: tuple[Exit, ...]) -> tuple[Exit, ...]:
    """Return exits with different names.

    Raises:
        ValueError: A name occurs twice, or there are too many.
    """
    names = [each.name for each in exits]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the name {twice} occurs twice")
    if len(exits) > MAX_EXITS:
        raise ValueError(f"must be {MAX_EXITS} exits at most")
    return exits


def _given(value: object) -> object:
    return exits_in_text(value) if isinstance(value, str) else value


Exits = Annotated[tuple[Exit, ...], NoDecode, BeforeValidator(_given), AfterValidator(checked_exits)]
"""A setting that is a list of exits; in the environment, its short form."""


def _written(part: str) -> Mapping[str, Any]:
    name, _, address = part.partition("=")
    if not re.fullmatch(_NAME, name):
        # It may be an address with a password.
        raise ValueError(f"must be NAME=ADDRESS for each proxy, with a NAME such as berlin-1, or {DIRECT}")
    return {"name": name, "address": address} if address else {"name": name}


def _checked(written: Sequence[Any]) -> tuple[Exit, ...]:
    exits = []
    for number, given in enumerate(written, start=1):
        try:
            exits.append(Exit.model_validate(given))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
            raise ValueError(f"number {number}: {field + ': ' if field else ''}{reason}") from None
    return checked_exits(tuple(exits))
