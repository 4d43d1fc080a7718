"""The body of a request: JSON, whose values Postgres reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from psycopg.sql import SQL, Composable, Identifier

from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.sql import joined, sql

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Body:
    """One object, or an array of objects with the same keys.

    Attributes:
        text: The text of the body, which should be JSON.
        names: Names of the members that are used.
    """

    text: str
    names: list[str]

    @classmethod
    def parse(cls, body: bytes, columns: list[str] | None, *, is_rpc: bool) -> Body:
        """Read a body as PostgREST does.

        Args:
            body: The body, as sent.
            columns: The members that are used, if the query string names them. Then only Postgres reads the body.
            is_rpc: Whether it has the arguments of a function. Then an empty body is an object without members.

        Raises:
            RestError: It is not JSON, or its objects differ in their keys (PGRST102).
        """
        if columns is not None:
            try:
                return cls(body.decode(), columns)
            except UnicodeDecodeError:
                raise unsupported("bodies that are not UTF-8, with the parameter columns") from None
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
        """Whether it starts like an object, not like an array."""
        return self.text.lstrip(" \t\n\r").startswith("{")

    def rows(self, types: Mapping[str, str]) -> Composable:
        """Return the SQL of its objects as rows `pgrst_body`. Without names, the rows have no columns.

        Args:
            types: Types of the members, by name.
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
        # Postgres reads the digits of numbers.
        document = json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()  # raises for half of a surrogate pair
    except RecursionError:
        raise unsupported("bodies that are nested so deeply") from None
    except ValueError:
        raise RestError(400, "PGRST102", "Empty or invalid json") from None
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
