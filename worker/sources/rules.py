"""The database's rules for parameters (`worker.parameter_rules`), derived from the parameter models of sources.

A search is checked twice: by the database when it is inserted, and by the source's model when it is read. The model is
where a parameter is declared; the database's row follows from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from worker.model import Json
from worker.sources import Source
from worker.sources.parameters import NAMES_BOARDS, SITE_LISTS, SearchParameters


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """A row of `worker.parameter_rules`.

    Attributes:
        type: `text`, `integer`, `boolean`, or `texts` and `integers` for lists.
        minimum: Least value of an integer, length of a text or length of a list.
        maximum: Greatest value of an integer, length of a text or length of a list.
        allowed: The only values of a text or of a list's elements; None: any.
        default_value: What applies when a search does not name the parameter.
        names_boards_of: The site whose boards the user names with it.
    """

    kind: str
    name: str
    type: str
    is_required: bool = False
    minimum: int | None = None
    maximum: int | None = None
    allowed: tuple[str, ...] | None = None
    default_value: Json = None
    names_boards_of: str | None = None


def parameter_rules(sources: Iterable[Source]) -> list[ParameterRule]:
    """Return the rules for all parameters that sources of one kind or several read.

    The database does not require a parameter unless each source of the kind does. Which sites are searched by default
    is not the sources' decision: the rule of `sites` has no default.

    Raises:
        ValueError: The database cannot check a parameter, or two sources of a kind declare it differently.
    """
    by_kind: dict[str, list[Source]] = {}
    for source in sources:
        by_kind.setdefault(source.kind, []).append(source)
    return [rule for same in by_kind.values() for rule in _rules_of_kind(same)]


def rules_in_sql(source: Source, others: Iterable[Source]) -> str:
    """Return the SQL that makes a source's sites and parameters known to the database. Idempotent.

    Args:
        source: The source to add.
        others: The sources that the database knows already.

    Raises:
        ValueError: The database cannot check a parameter, or another source of the kind declares it differently.
    """
    peers = [other for other in others if other.kind == source.kind and other.name != source.name]
    known = {name for peer in peers for name in peer.parameters.model_fields}
    rules = [rule for rule in _rules_of_kind([*peers, source]) if rule.name not in known]
    if peers:
        statements = [_add_sites(source)]
    else:
        statements = [_add_kind(source)]
        rules = [replace(rule, default_value=[*source.sites]) if rule.name == "sites" else rule for rule in rules]
    if rules:
        statements.append(_upsert(rules))
    return "\n\n".join(statements) + "\n"


def _rules_of_kind(sources: Sequence[Source]) -> Iterator[ParameterRule]:
    for name in dict.fromkeys(name for source in sources for name in source.parameters.model_fields):
        declared = {source.name: _rule(source, name) for source in sources if name in source.parameters.model_fields}
        first, *others = declared.values()
        is_required = len(declared) == len(sources) and all(rule.is_required for rule in declared.values())
        if name in SITE_LISTS:
            first = replace(first, allowed=tuple(site for source in sources for site in source.sites))
        elif any(replace(rule, is_required=first.is_required) != first for rule in others):
            raise ValueError(f"{', '.join(declared)} declare {name} differently")
        yield replace(first, is_required=is_required)


def _rule(source: Source, name: str) -> ParameterRule:
    field, schema = source.parameters.model_fields[name], _schema(source.parameters, name)
    if name in SITE_LISTS:
        schema = {**schema, "items": {"type": "string", "enum": source.sites}}
    try:
        kind_of_value, minimum, maximum, allowed = _checks(schema)
    except ValueError as error:
        raise ValueError(f"{source.name}: the database cannot check {name}: {error}") from None
    default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    return ParameterRule(
        kind=source.kind,
        name=name,
        type=kind_of_value,
        is_required=field.is_required(),
        minimum=minimum,
        maximum=maximum,
        allowed=allowed,
        # An empty list stands for one that is not given.
        default_value=None if default == [] else default,
        names_boards_of=source.sites[0] if NAMES_BOARDS in schema else None,
    )


def _schema(model: type[SearchParameters], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema()["properties"][name]
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else {}


def _checks(schema: Mapping[str, Any]) -> tuple[str, int | None, int | None, tuple[str, ...] | None]:
    """Return the type, the bounds and the allowed values of a rule, which allows what a JSON schema allows."""
    match schema:
        case {"type": "boolean"}:
            return "boolean", None, None, None
        case {"type": "string", "enum": values}:
            return "text", None, None, tuple(values)
        case {"type": "string", "minLength": least, "maxLength": greatest}:
            return "text", least, greatest, None
        case {"type": "integer", "minimum": least, "maximum": greatest}:
            return "integer", least, greatest, None
        case {"type": "array", "minItems": least, "maxItems": greatest, "items": element}:
            elements, allowed = _checks_of_elements(element)
            return elements, least, greatest, allowed
    raise ValueError("it must be a boolean, or a text, an integer or a list with bounds")


def _checks_of_elements(schema: Mapping[str, Any]) -> tuple[str, tuple[str, ...] | None]:
    match schema:
        case {"type": "string", "enum": values}:
            return "texts", tuple(values)
        case {"type": "integer", "enum": values}:
            return "integers", tuple(map(str, values))
        case {"type": "string", "minLength": 1, "maxLength": 100}:
            return "texts", None
        case {"type": "integer", "minimum": 1, "maximum": 9007199254740992}:
            return "integers", None
    raise ValueError("its elements must be texts of 1 to 100 characters, integers from 1 to 2^53, or literals")


def _add_sites(source: Source) -> str:
    kind, sites = _literal(source.kind), _literal(tuple(source.sites))
    return (
        f"update worker.parameter_rules set allowed = allowed || {sites}\n"  # noqa: S608 (literals are quoted)
        f"where kind = {kind} and name in ('sites', 'fallback_sites') and not allowed @> {sites};"
    )


def _add_kind(source: Source) -> str:
    values = f"{_literal(source.kind)}, {_literal(source.needs_account)}"
    return f"insert into worker.kinds (kind, is_private) values ({values}) on conflict do nothing;"  # noqa: S608 (as above)


def _upsert(rules: Sequence[ParameterRule]) -> str:
    names = [field.name for field in fields(ParameterRule)]
    rows = ",\n".join(f"    ({', '.join(_value(rule, name) for name in names)})" for rule in rules)
    changes = ",\n".join(f"    {name} = excluded.{name}" for name in names if name not in ("kind", "name"))
    return (
        f"insert into worker.parameter_rules\n    ({', '.join(names)}) values\n{rows}\n"
        f"on conflict (kind, name) do update set\n{changes};"
    )


def _value(rule: ParameterRule, name: str) -> str:
    value = getattr(rule, name)
    return _literal(json.dumps(value) if name == "default_value" and value is not None else value)


def _literal(value: str | int | bool | tuple[str, ...] | None) -> str:
    match value:
        case None:
            return "null"
        case bool() | int():
            return str(value).lower()
        case tuple():
            return _literal("{" + ",".join(map(_element, value)) + "}")
        case _:
            return "'" + value.replace("'", "''") + "'"


def _element(value: str) -> str:
    return value if re.fullmatch(r"[a-z0-9_-]+", value) and value != "null" else json.dumps(value, ensure_ascii=False)
