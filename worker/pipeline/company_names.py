"""Names of companies without their legal form."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from worker.pipeline.folding import folded_words

_JAPANESE_LEGAL_FORMS = re.compile(
    r"\u682a\u5f0f\u4f1a\u793e|\u6709\u9650\u4f1a\u793e|\u5408\u540c\u4f1a\u793e|[(\uff08]\u682a[)\uff09]"
)


def core_name(name: str | None) -> str | None:
    """Return the words of a company's name without its legal form, in lower case and without accents.

    `ING Bank N.V.` and `ING Bank` have one core. The core of `ING` is another one.

    Returns:
        None if the name has no words.
    """
    words = folded_words(_JAPANESE_LEGAL_FORMS.sub(" ", name or ""))
    if len(words) > 1 and (words[0] == "the" or words[0] in _legal_forms().in_front):
        del words[0]
    while length := _legal_form_length(words):
        del words[-length:]
    return " ".join(words) or None


def _legal_form_length(words: list[str]) -> int:
    """Return how many words at the end of a name, but not all of them, are a legal form."""
    forms = _legal_forms()
    for length in range(min(forms.most_words, len(words) - 1), 0, -1):
        if " ".join(words[-length:]) in forms.behind:
            return length
    return 1 if len(words) > 1 and words[-1] == "and" else 0


class _LegalForms(NamedTuple):
    behind: frozenset[str]
    in_front: frozenset[str]
    most_words: int


@cache
def _legal_forms() -> _LegalForms:
    behind: set[str] = set()
    in_front: set[str] = set()
    for line in files(__package__).joinpath("legal_forms.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            place, _, forms = line.partition(": ")
            (in_front if place == "in front" else behind).update(
                " ".join(folded_words(form)) for form in forms.split(", ")
            )
    return _LegalForms(frozenset(behind), frozenset(in_front), max(len(form.split()) for form in behind))
