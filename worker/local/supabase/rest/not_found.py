"""The errors for missing tables, functions and relationships, with a hint to the most similar name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from worker.local.supabase.rest.errors import RestError
from worker.local.supabase.rest.schema import Function

TABLES = """
select relname::text from pg_class
where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'f', 'p') and not relispartition
"""
FUNCTIONS = """
select distinct proname::text from pg_proc
where pronamespace = 'public'::regnamespace and prokind = 'f' and prorettype <> 'trigger'::regtype
"""
_MIN_SCORE, _MIN_SCORE_OF_NAMES = 0.33, 0.75
_GRAM_SIZES = (3, 2)
_MAX_CANDIDATES = 50


def no_table(name: str, tables: Sequence[str]) -> RestError:
    """Return the error that there is no such table (PGRST205)."""
    close = closest(name, tables, min_score=_MIN_SCORE_OF_NAMES)
    hint = f"Perhaps you meant the table 'public.{close[0]}'" if close else None
    return RestError(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache", hint=hint)


def no_function(
    name: str, arguments: Iterable[str], namesakes: Sequence[Function], functions: Sequence[str], *, is_post: bool
) -> RestError:
    """Return the error that no function of this name takes these arguments (PGRST202)."""
    names = ", ".join(sorted(arguments))
    called, searched = f"({names})", f" with parameter{'s' if ',' in names else ''} {names}"
    if not names:
        called = searched = " without parameters"
    alternative = " or with a single unnamed json/jsonb parameter" if is_post else ""
    if namesakes:
        signatures = [f"({', '.join(sorted(function.argument_names))})" for function in namesakes]
        close = [f"{name}{signature}" for signature in closest(f"({names})", signatures)]
    else:
        close = closest(name, functions, min_score=_MIN_SCORE_OF_NAMES)
    return RestError(
        404,
        "PGRST202",
        f"Could not find the function public.{name}{called} in the schema cache",
        details=f"Searched for the function public.{name}{searched}{alternative}, "
        "but no matches were found in the schema cache.",
        hint=f"Perhaps you meant to call the function public.{close[0]}" if close else None,
    )


def no_relationship(origin: str, target: str, hint: str | None, related: Sequence[tuple[str, str]]) -> RestError:
    """Return the error that two tables are not related (PGRST200)."""
    targets = [other for table, other in related if table == origin]
    if targets:
        meant, named = [close for close in closest(target, targets) if close.lower() != target.lower()], target
    else:
        meant, named = closest(origin, sorted({table for table, _ in related})), origin
    using = f"' using the hint '{hint}" if hint else ""
    return RestError(
        400,
        "PGRST200",
        f"Could not find a relationship between '{origin}' and '{target}' in the schema cache",
        details=f"Searched for a foreign key relationship between '{origin}' and '{target}{using}' in the schema "
        "'public', but no matches were found.",
        hint=f"Perhaps you meant '{meant[0]}' instead of '{named}'." if meant else None,
    )


def closest(text: str, known: Iterable[str], *, min_score: float = _MIN_SCORE) -> list[str]:
    """Return the known texts that are most similar to `text`, the most similar first.

    Candidates are found by common trigrams, or else bigrams, and ranked by edit distance.
    """
    lower = text.lower()
    by_key = {entry.lower(): entry for entry in sorted(known)}
    if lower in by_key:
        return [by_key[lower]]
    for size in _GRAM_SIZES:
        grams = _grams(lower, size)
        scored = [(_cosine(grams, _grams(key, size)), key) for key in by_key]
        candidates = sorted([pair for pair in scored if pair[0] > 0], key=lambda pair: -pair[0])[:_MAX_CANDIDATES]
        ranked = sorted(((_similarity(lower, key), key) for _, key in candidates), key=lambda pair: -pair[0])
        if found := [by_key[key] for score, key in ranked if score >= min_score]:
            return found
    return []


def _grams(text: str, size: int) -> Counter[str]:
    word = "".join(character for character in text if character.isalnum() or character.isspace() or character == ",")
    enclosed = f"-{word}-"
    return Counter(enclosed[place : place + size] for place in range(len(enclosed) - size + 1))


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    shared = sum(count * other[gram] for gram, count in one.items())
    return shared / math.hypot(*one.values()) / math.hypot(*other.values()) if shared else 0.0


def _similarity(one: str, other: str) -> float:
    """Return the similarity by edit distance: 1 for equal texts, 0 if every character differs."""
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, 1):
        diagonal, row[0] = row[0], place
        for column, opposite in enumerate(other, 1):
            edits = diagonal + (character != opposite)
            diagonal = row[column]
            row[column] = min(edits, row[column] + 1, row[column - 1] + 1)
    return 1 - row[-1] / max(len(one), len(other), 1)
