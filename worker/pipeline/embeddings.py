"""Builds the text of an item that is embedded."""

from __future__ import annotations

import re
from typing import Protocol

MAX_TEXT_LENGTH = 4000
"""Most characters that are embedded. What follows is mostly the company's boilerplate."""


DECIMALS = 6
"""Decimals of the numbers of an embedding. The database keeps 11 bits of each (`halfvec`)."""


class Embeddable(Protocol):
    """An object with the fields of an item that are embedded."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def organization(self) -> str | None: ...  # noqa: D102
    @property
    def location(self) -> str | None: ...  # noqa: D102
    @property
    def description(self) -> str | None: ...  # noqa: D102


def embedding_text(item: Embeddable) -> str:
    """Return the words of an item's title, organization, location and description.

    Punctuation is removed because it differs between boards: with it, only 46 to 72 % of the sightings of one job in
    different formats have a cosine similarity above 0.95 (`scripts/bench/dedupe`).
    """
    fields = (item.title, item.organization, item.location, item.description)
    return " ".join(re.findall(r"\w+", " ".join(filter(None, fields))))[:MAX_TEXT_LENGTH].strip()
