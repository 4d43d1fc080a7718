"""The filters of subscriptions: read as the server of Realtime does, checked and applied as its SQL does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import psycopg
from psycopg import sql

from worker.local.supabase.realtime.errors import RefusedError

MAX_IN_VALUES = 100
PATTERNS = {"like": "like", "ilike": "ilike", "match": "~", "imatch": "~*"}
OPERATORS = PATTERNS | {
    "eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "in": "= any",
    "isdistinct": "is distinct from", "is": "is",
}  # fmt: skip
TRUTH_VALUES = ("null", "true", "false", "unknown")
QUOTED = r'"(?:\\.|[^"\\])*"'

# A pattern may be applied to a column if its type itself has the operator.
LIKE = "select from pg_operator where oprname = '~~' and oprleft = {type}::regtype"
MATCH = (
    "select from pg_operator where oprname = {operator} and oprleft = {type}::regtype and oprright = {type}::regtype"
    " and oprresult = 'boolean'::regtype"
)

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]


class Filter(NamedTuple):
    """One condition of a binding, such as `status=not.in.(failed,cancelled)`."""

    column: str
    operator: str
    value: str
    negated: bool

    @classmethod
    def parse_all(cls, text: str) -> tuple[Filter, ...]:
        """Read conditions with commas between them. The text may be empty.

        Raises:
            RefusedError: One of them is not a condition.
        """
        return tuple(map(cls.parse, _split(text.strip()))) if text.strip() else ()

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read one condition.

        Raises:
            RefusedError: It is not a condition.
        """
        text = text.strip()
        if not text:
            raise _unreadable("filter must not contain empty segments (check for extra commas)")
        column, equals, condition = text.partition("=")
        if not equals:
            raise _unreadable(json.dumps([text]))
        negated = condition.startswith("not.")
        operator, dot, value = condition.removeprefix("not.").partition(".")
        if not dot:
            raise _unreadable(json.dumps([operator]))
        if operator not in OPERATORS:
            raise _unreadable(json.dumps([operator, value]))
        if operator == "in":
            if not (len(value) > 1 and value.startswith("(") and value.endswith(")")):
                raise _unreadable("`in` filter value must be wrapped by parentheses")
            value = f"{{{value[1:-1]}}}"
        elif re.fullmatch(QUOTED, value, re.DOTALL):
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        return cls(column, operator, value, negated)

    def test(self, operand: sql.Composable, type_name: str) -> sql.Composable:
        """Return the SQL that applies this filter to `operand`, a value of type `type_name`."""
        value_type = sql.SQL(f"{type_name}[]" if self.operator == "in" else type_name)
        literal = sql.SQL("({}::{})").format(self.value, value_type)
        value = sql.SQL(self.value) if self.operator == "is" else literal
        test = sql.SQL("({} {} {})").format(operand, sql.SQL(OPERATORS[self.operator]), value)
        return sql.SQL("not ") + test if self.negated else test

    async def check(self, connection: Connection, types: Mapping[str, str]) -> None:
        """Refuse what the trigger of the platform refuses, and what would break its stream of changes later.

        Args:
            connection: Connection to the database.
            types: Types of the columns that may be filtered, by name.

        Raises:
            RefusedError: It does not fit the columns.
        """
        if self.column not in types:
            raise raised(f"invalid column for filter {self.column}")
        type_name = types[self.column]
        if self.operator == "is":
            self._check_truth_value(type_name)
        elif self.operator in PATTERNS:
            await self._check_pattern(connection, type_name)
        elif self.operator == "in":
            count = sql.SQL("select coalesce(jsonb_array_length(to_jsonb({}::{})), 0)")
            [(number,)] = await _ask(connection, count.format(self.value, sql.SQL(f"{type_name}[]")))
            if number > MAX_IN_VALUES:
                raise raised(f"too many values for `in` filter. Maximum {MAX_IN_VALUES}")
        elif type_name != "bytea":  # for which the trigger accepts any text
            await _ask(connection, sql.SQL("select {}::{} is null").format(self.value, sql.SQL(type_name)))
        await self._check_that_it_runs(connection, type_name)

    def _check_truth_value(self, type_name: str) -> None:
        if self.value not in TRUTH_VALUES:
            raise raised("invalid value for is filter: must be null, true, false, or unknown")
        if self.value != "null" and type_name != "boolean":
            raise raised(f"is {self.value} filter requires a boolean column, got {type_name}")

    async def _check_pattern(self, connection: Connection, type_name: str) -> None:
        is_regex = self.operator in ("match", "imatch")
        search = sql.SQL(MATCH if is_regex else LIKE).format(type=type_name, operator=PATTERNS[self.operator])
        if not await _ask(connection, search):
            raise raised(f"operator {self.operator} requires a text-compatible column type, got {type_name}")
        if is_regex:
            try:
                await connection.execute("select '' ~ %s", (self.value,))
            except psycopg.DataError as error:
                message = f"invalid regular expression for {self.operator} filter: {error.diag.message_primary}"
                raise raised(message) from None

    async def _check_that_it_runs(self, connection: Connection, type_name: str) -> None:
        # The platform applies the filter to the JSON of a value, as text. For arrays and composites this always fails.
        category = sql.SQL("select from pg_type where oid = {}::regtype and typcategory in ('A', 'C')")
        operand = sql.SQL("{}::{}").format("" if self.operator in PATTERNS else None, sql.SQL(type_name))
        reason = ""
        if await _ask(connection, category.format(type_name)):
            reason = f"values of type {type_name} cannot be compared"
        else:
            try:
                await _ask(connection, sql.SQL("select {}").format(self.test(operand, type_name)))
            except RefusedError as error:
                reason = str(error)
        if reason:
            raise RefusedError(f"{reason} (the platform accepts this filter, and then loses changes)")


def raised(message: str) -> RefusedError:
    """Return an error that the trigger of the platform raises itself."""
    return RefusedError(f"ERROR P0001 (raise_exception) {message}")


def _unreadable(reason: str) -> RefusedError:
    return RefusedError(f"Error parsing `filter` params: {reason}")


async def _ask(connection: Connection, query: sql.Composed) -> Sequence[tuple[Any, ...]]:
    try:
        return await (await connection.execute(query)).fetchall()
    except psycopg.Error as error:
        if connection.closed:
            raise
        condition = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
        raise RefusedError(f"ERROR {error.sqlstate} ({condition}) {error.diag.message_primary}") from None


def _split(filters: str) -> list[str]:
    """Split at the commas outside of parentheses and of quotes. Quotes open after `.`, `(` or `,`."""
    parts, depth = [""], 0
    for piece in re.findall(rf"(?<=[.(,]){QUOTED}|.", filters, re.DOTALL):
        depth = max(0, depth + (piece == "(") - (piece == ")"))
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts
