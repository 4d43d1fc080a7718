"""Makes `docs/functions.md` from what `supabase/SCHEMA.md` says of the functions of the schema `public`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.site.navigation import PROJECT

_BEFORE = """\
# Functions

What can be called as `supabase.rpc(name, arguments)`. Made by `./scripts/docs` from [Schema](../supabase/SCHEMA.md).
Each name leads to the full description with the types.
"""
_SECTIONS = (
    ("For signed-in users", "A call needs the session of a user. See [The frontend](frontend.md#functions)."),
    ("For everybody", "The anon key is enough."),
    ("For admins", "For users whose `app_metadata.role` is `admin`. See [Admin functions](admin.md)."),
    (
        "For your backend and the worker",
        "They need the service key. Functions that no other page names are the protocol between worker and database.",
    ),
)


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    arguments: str
    summary: str
    callers: frozenset[str]

    @property
    def row(self) -> str:
        return f"| [`{self.name}`](../supabase/SCHEMA.md#{self.name}) | {self.arguments} | {self.summary} |"

    @property
    def section(self) -> str:
        if self.name.startswith("admin_"):
            return "For admins"
        if "anon" in self.callers:
            return "For everybody"
        return "For signed-in users" if "authenticated" in self.callers else "For your backend and the worker"


def functions_page() -> str:
    """Return the page."""
    functions = list(_functions())
    lines = [_BEFORE]
    for title, introduction in _SECTIONS:
        lines += [f"## {title}", "", introduction, "", "| function | arguments | does |", "|---|---|---|"]
        lines += [function.row for function in functions if function.section == title]
        lines.append("")
    return "\n".join(lines)


def _functions() -> Iterator[_Function]:
    schema = (PROJECT / "supabase" / "SCHEMA.md").read_text()
    part = schema.partition("\n## Functions of public\n")[2].partition("\n## ")[0]
    for section in part.split("\n### ")[1:]:
        name, signature, comment, callers = re.findall(
            r"\A(\w+)\n+```sql\n(.*?)\n```\n+(.*?)\n+Callers: (.*?)(?:;|\.$|\.\n)", section, re.DOTALL
        )[0]
        yield _Function(
            name, _arguments(name, signature), _first_sentence(comment), frozenset(re.findall(r"\w+", callers))
        )


def _arguments(name: str, signature: str) -> str:
    """Return the names of the arguments; those with a default are marked as optional."""
    text = re.sub(r"\s+", " ", signature.removeprefix(name)).replace('"', "")
    inside = re.match(r"\((.*?)\) returns ", text)
    listed = [argument.strip() for argument in (inside[1] if inside else "").split(", ") if argument.strip()]
    return ", ".join(
        f"`{argument.split()[0]}`" + (" (optional)" if " DEFAULT " in argument else "") for argument in listed
    )


def _first_sentence(comment: str) -> str:
    """Return the first sentence of a comment, without the description of a JSON answer that ends it."""
    text = " ".join(comment.split()).removeprefix("For admins: ")
    sentence = re.match(r".*?\.(?=\s|$)", f"{text.partition(': {')[0].removesuffix('.')}.")
    summary = sentence[0] if sentence else text
    return f"{summary[0].upper()}{summary[1:]}".replace("|", r"\|")
