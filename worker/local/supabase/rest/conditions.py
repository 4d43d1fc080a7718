"""The conditions of a query string: filters, and logic trees that combine them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from worker.local.supabase.rest.errors import unsupported
from worker.local.supabase.rest.fields import Field, parse_field
from worker.local.supabase.rest.scanner import Scanner

OPERATORS = {
    "eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike",
    "match": "~", "imatch": "~*", "cs": "@>", "cd": "<@", "ov": "&&", "isdistinct": "is distinct from",
    "in": "= any", "is": "is",
}  # fmt: skip

_CONNECTIVE = re.compile(r"[ \t]*(not\.)?(and|or)[ \t]*\(")
_OPERATION = re.compile(rf"(not\.)?({'|'.join(OPERATORS)})\.")
_UNKNOWN_OPERATION = re.compile(
    r"(?:not\.)?((?:sl|sr|nxr|nxl|adj|(?:pl|ph|w)?fts(?:\([\w $]+\))?)"
    r"|(?:eq|gte?|lte?|i?like|i?match)\((?:any|all)\))\."
)
_BEGUN_OPERATION = re.compile(r"(?:not|in|is)\.")
_IS = re.compile(r"null|not_null|true|false|unknown", re.IGNORECASE)
_SPACES = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a column, or on a value within its JSON.

    Attributes:
        operand: A text. For `in`, a list of texts. For `is`, the keyword.
    """

    field: Field
    is_negated: bool
    operator: str
    operand: str | list[str]


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions that are combined by `and` or `or`."""

    is_negated: bool
    connective: str
    conditions: list[Filter | Logic]


def is_operation(value: str) -> bool:
    """Return whether the value of a parameter begins with an operator."""
    return any(pattern.match(value) for pattern in (_OPERATION, _UNKNOWN_OPERATION, _BEGUN_OPERATION))


def parse_condition(scanner: Scanner) -> Filter | Logic:
    """Read a filter, such as `id.eq.1`, or a logic tree, such as `and(id.gt.1,or(a.is.null,b.eq.2))`."""
    connective = scanner.match(_CONNECTIVE)
    if connective is None:
        field = parse_field(scanner)
        scanner.expect(".")
        return parse_filter(scanner, field, scanner.value)
    conditions = scanner.separated(lambda: parse_condition(scanner))
    scanner.expect(")")
    return Logic(connective[1] is not None, connective[2], conditions)


def parse_filter(scanner: Scanner, field: Field, operand: Callable[[], str]) -> Filter:
    """Read the operator and the operand of a filter.

    Args:
        scanner: Stands before the operator.
        field: What the filter is about.
        operand: Reads the operand, where it is one value.
    """
    if (refused := scanner.match(_UNKNOWN_OPERATION)) is not None:
        raise unsupported(f"the operator {refused[1]}")
    operation = scanner.match(_OPERATION)
    if operation is None:
        scanner.fail('"not" or operator (eq, gt, ...)')
    is_negated, operator = operation[1] is not None, operation[2]
    if operator == "in":
        scanner.expect("(")
        scanner.match(_SPACES)
        values = scanner.separated(scanner.value)
        scanner.expect(")")
        return Filter(field, is_negated, operator, values)
    if operator == "is":
        word = scanner.match(_IS)
        if word is None:
            scanner.fail("isVal: (null, not_null, true, false, unknown)")
        return Filter(field, is_negated, operator, word[0].lower().replace("_", " "))
    value = operand()
    return Filter(field, is_negated, operator, value.replace("*", "%") if operator.endswith("like") else value)
