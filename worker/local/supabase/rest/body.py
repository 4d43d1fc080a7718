"""The body of a request: JSON whose values are for Postgres to read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from psycopg.sql import SQL, Composable, Identifier

from worker.local.supabase.rest.errors import RestError, unknown
from worker.local.supabase.rest.sql import joined, sql

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Body:
    """One object, or an array of objects with the same keys.

    Attributes:
        text: JSON, or what the request calls so.
        names: Names of those members that count.
    """

    text: str
    names: list[str]

    @classmethod
    def parse(cls, body: bytes, columns: list[str] | None, *, is_rpc: bool) -> Body:
        """Read a body as PostgREST does.

        Args:
            body: As it was sent.
            columns: The members that count, if the query string says so: then Postgres alone looks at the body.
            is_rpc: Whether it holds a function's arguments: then no body is an object without members.

        Raises:
            RestError: It is not JSON, or its objects differ in their keys (PGRST102).
        """
        if columns is not None:
            try:
                return cls(body.decode(), columns)
            except UnicodeDecodeError:
                raise unknown("bodies that are not UTF-8, with the parameter columns") from None
        document = {} if is_rpc and not body else _document(body)
        if isinstance(document, dict):
            return cls(body.decode() or "{}", sorted(document))
        if not isinstance(document, list) or not document:
            return cls("[]", [])
        first = document[0]
        if not isinstance(first, dict) or any(
            not isinstance(item, dict) or item.keys() != first.keys() for item in document
        ):
            raise RestError(400, "PGRST102", "All object keys must match")
        return cls(body.decode(), sorted(first))

    @property
    def is_object(self) -> bool:
        """Whether it looks like one object, rather than an array."""
        return self.text.lstrip(" \t\n\r").startswith("{")

    def rows(self, types: Mapping[str, str]) -> Composable:
        """Return its objects as rows, `pgrst_body`. Without names, they are as many rows of nothing.

        Args:
            types: Type of each member.
        """
        if not self.names and self.is_object:
            return SQL("(values (1)) as pgrst_body")
        if not self.names:
            return sql("json_array_elements({}::json) as pgrst_body", self.text)
        columns = joined(", ", [sql("{} {}", Identifier(name), SQL(types[name])) for name in self.names])
        function = "json_to_record" if self.is_object else "json_to_recordset"
        return sql(function + "({}::json) as pgrst_body ({})", self.text, columns)


def _document(body: bytes) -> Any:
    try:
        text = body.decode()
        # The digits of a number are Postgres's concern.
        document = json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()  # half of a pair is no text
    except RecursionError:
        raise unknown("bodies that are nested so deeply") from None
    except ValueError:
        raise RestError(400, "PGRST102", "Empty or invalid json") from None
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
