"""Describes the parameters of each kind of search in TypeScript, from the rules of the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import psycopg
from psycopg.rows import dict_row

_HEADER = "// Made by ./scripts/schema from worker.parameter_rules. Do not edit.\n\n"
_RULES = """
select kind, name, type, is_required, allowed, default_value, worker.describe_rule(rule) as description
from worker.parameter_rules as rule
order by kind, is_required desc, name
"""
_TYPES = {"text": "string", "texts": "string", "integer": "number", "integers": "number", "boolean": "boolean"}


def describe_parameters(dsn: str) -> str:
    """Return an interface with the parameters of each kind.

    Args:
        dsn: URL of the database.
    """
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        rules = connection.execute(_RULES).fetchall()
    kinds = (_kind(kind, of_kind) for kind, of_kind in groupby(rules, itemgetter("kind")))
    return f"{_HEADER}export interface Parameters {{\n{''.join(kinds)}}}\n"


def _kind(kind: str, rules: Iterable[Mapping[str, Any]]) -> str:
    return f"  {kind}: {{\n{''.join(map(_parameter, rules))}  }}\n"


def _parameter(rule: Mapping[str, Any]) -> str:
    default = "" if rule["default_value"] is None else f"; default: {json.dumps(rule['default_value'])}"
    mark = "" if rule["is_required"] else "?"
    # The list of allowed values is in the type.
    note = default.removeprefix("; ") if rule["allowed"] or rule["type"] == "boolean" else rule["description"] + default
    comment = f"    /** {note[:1].upper()}{note[1:]}. */\n" if note else ""
    return f"{comment}    {rule['name']}{mark}: {_type(rule)}\n"


def _type(rule: Mapping[str, Any]) -> str:
    element = _TYPES[rule["type"]]
    if rule["allowed"]:
        element = " | ".join(value if element == "number" else f"'{value}'" for value in rule["allowed"])
    is_list = rule["type"] in ("texts", "integers")
    return (f"({element})[]" if rule["allowed"] else f"{element}[]") if is_list else element
