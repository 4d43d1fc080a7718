"""Recorded requests: one line of JSON each, with placeholders for what differs from one database to the next."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent
FILE = RECORDED / "rest.jsonl"
SCHEMA = RECORDED / "rest_schema.sql"
ROWS = RECORDED / "rest_rows.sql"

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PLACEHOLDER = re.compile(r"<uuid ([0-9]+)>")

KEPT_HEADERS = (
    "accept", "accept-profile", "content-profile", "content-type", "cookie", "prefer", "range", "range-unit"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A request, or the point where the tables of `rest_rows.sql` are filled.

    Attributes:
        path: With the query string, below the API's address.
        role: `anon` or `service_role`, for a request with that API key alone.
        claims: Of a token that is signed with the right secret; times are seconds from now.
        authorization: The header as it was sent, where it is no such token.
        uuids: Numbers of those that the recorded answer held, in their order.
    """

    method: str
    path: str = ""
    role: str | None = None
    claims: Any = None
    authorization: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    uuids: list[int] = field(default_factory=list)

    @property
    def is_reset(self) -> bool:
        """Whether it is the point where tables are filled."""
        return self.method == "RESET"

    def line(self) -> str:
        """Return it as it is kept."""
        return json.dumps({name: value for name, value in asdict(self).items() if value not in (None, "", [], {})})


RESET = Record("RESET")


def read(path: Path) -> Iterator[Record]:
    """Read what was recorded."""
    for line in path.read_text().splitlines():
        yield Record(**json.loads(line))


def users(records: Sequence[Record]) -> set[int]:
    """Return the numbers of the users who made requests."""
    claims = [record.claims for record in records if isinstance(record.claims, dict)]
    found = [PLACEHOLDER.fullmatch(str(of.get("sub"))) for of in claims]
    return {int(user[1]) for user in found if user}
