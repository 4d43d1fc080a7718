"""The conditions of a query string: filters, and logic trees that combine them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from worker.local.supabase.rest.fields import Field, parse_field
from worker.local.supabase.rest.scanner import Scanner

OPERATORS = {
    "eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike",
    "match": "~", "imatch": "~*", "cs": "@>", "cd": "<@", "ov": "&&", "isdistinct": "is distinct from",
    "in": "= any", "is": "is", "sl": "<<", "sr": ">>", "nxr": "&<", "nxl": "&>", "adj": "-|-",
}  # fmt: skip
TEXT_SEARCH = {
    "fts": "to_tsquery", "plfts": "plainto_tsquery", "phfts": "phraseto_tsquery", "wfts": "websearch_to_tsquery"
}  # fmt: skip
"""The operators of full text search, and the functions that read their operands."""

_CONNECTIVE = re.compile(r"[ \t]*(not\.)?(and|or)[ \t]*\(")
_QUANTIFIED = "eq|gte?|lte?|i?like|i?match"
_OPERATION = re.compile(
    rf"(?P<not>not\.)?(?:(?P<search>{'|'.join(TEXT_SEARCH)})(?:\((?P<config>[\w $]+)\))?"
    rf"|(?P<quantified>{_QUANTIFIED})\((?P<quantifier>any|all)\)|(?P<plain>{'|'.join(OPERATORS)}))\."
)
_BEGUN_OPERATION = re.compile(r"(?:not|in|is)\.")
_IS = re.compile(r"null|not_null|true|false|unknown", re.IGNORECASE)
_SPACES = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a column, or on a value within its JSON.

    Attributes:
        operand: A text. For `in`, a list of texts. For `is`, the keyword.
        quantifier: `any` or `all`, if the operand is an array to compare with.
        config: The configuration of a text search, if it has one.
    """

    field: Field
    is_negated: bool
    operator: str
    operand: str | list[str]
    quantifier: str | None = None
    config: str | None = None

    @property
    def is_text_search(self) -> bool:
        """Whether it is a full text search."""
        return self.operator in TEXT_SEARCH


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions that are combined by `and` or `or`."""

    is_negated: bool
    connective: str
    conditions: list[Filter | Logic]


def is_operation(value: str) -> bool:
    """Return whether the value of a parameter begins with an operator."""
    return any(pattern.match(value) for pattern in (_OPERATION, _BEGUN_OPERATION))


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
    operation = scanner.match(_OPERATION)
    if operation is None:
        scanner.fail('"not" or operator (eq, gt, ...)')
    is_negated = operation["not"] is not None
    operator = operation["plain"] or operation["quantified"] or operation["search"]
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
    value = value.replace("*", "%") if operator.endswith("like") else value
    config = operation["config"].strip() if operation["config"] is not None else None
    return Filter(field, is_negated, operator, value, operation["quantifier"], config)
