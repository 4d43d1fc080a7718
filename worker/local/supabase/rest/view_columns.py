"""The table columns that the columns of a view come from, read from the view's stored query.

Postgres stores the query of a view as text (`pg_rewrite.ev_action`, of the type `pg_node_tree`). Each entry of its
target list has the number of the view's column (`resno`), and the table and column that its value is a plain
reference to (`resorigtbl`, `resorigcol`; 0 for expressions). Source of the format: PostgreSQL's
src/backend/nodes/outfuncs.c and src/include/nodes/primnodes.h.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# An escaped character, a bracket, or one of the fields.
_TOKEN = re.compile(r"\\.|[(){}]|:(targetList)\b|:(resno|resorigtbl|resorigcol) ([0-9]+)", re.DOTALL)
# ({QUERY :targetList ({TARGETENTRY ...} ...)}): brackets around the target list, and around the fields of an entry.
_LIST_DEPTH, _ENTRY_DEPTH = 2, 4


class ViewColumn(NamedTuple):
    """A column of a view, and what it refers to.

    Attributes:
        number: Number of the view's column.
        table: The oid of the table or view that it comes from.
        column: The number of the column that it comes from.
    """

    number: int
    table: int
    column: int


def view_columns(definition: str) -> tuple[ViewColumn, ...]:
    """Return the columns of a view that are plain references.

    Args:
        definition: The text of `ev_action`.
    """
    found, depth, is_list = [], 0, False
    entry: dict[str, int] = {}
    for token in _TOKEN.finditer(definition):
        if token[0] in "({":
            depth += 1
        elif token[0] in ")}":
            depth -= 1
            if is_list and depth == _ENTRY_DEPTH - 1 and entry.get("resorigtbl"):
                found.append(ViewColumn(entry["resno"], entry["resorigtbl"], entry["resorigcol"]))
            if depth == _ENTRY_DEPTH - 1:
                entry = {}
            if is_list and depth == _LIST_DEPTH:
                break
        elif token[1]:
            is_list = is_list or depth == _LIST_DEPTH
        elif is_list and token[2] and depth == _ENTRY_DEPTH:
            entry[token[2]] = int(token[3])
    return tuple(found)
