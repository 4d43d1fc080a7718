"""Recorded requests: one line of JSON for each, with placeholders for values that differ between databases."""

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
        path: The path below the URL of the API, with the query string.
        role: `anon` or `service_role`, for a request with only that API key.
        claims: Claims of a token with a valid signature. Times are seconds from now.
        authorization: The header as sent, if it is another token.
        uuids: Numbers of the UUIDs in the recorded response, in order.
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
        """Return its line in the file."""
        return json.dumps({name: value for name, value in asdict(self).items() if value not in (None, "", [], {})})


RESET = Record("RESET")


def read(path: Path) -> Iterator[Record]:
    """Read recorded requests."""
    for line in path.read_text().splitlines():
        yield Record(**json.loads(line))


def users(records: Sequence[Record]) -> set[int]:
    """Return the numbers of the users who made requests."""
    claims = [record.claims for record in records if isinstance(record.claims, dict)]
    found = [PLACEHOLDER.fullmatch(str(of.get("sub"))) for of in claims]
    return {int(user[1]) for user in found if user}
