"""The `Prefer` header."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from worker.local.supabase.rest.errors import RestError, unsupported
from worker.local.supabase.rest.scanner import INTEGER

_KNOWN = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "missing": ("null",),
    "return": ("representation", "minimal"),
    "count": ("exact", "planned", "estimated"),
    "handling": ("strict", "lenient"),
}
_REFUSED = ("missing=default", "return=headers-only")
# PostgREST accepts them, and ignores them unless it is configured to apply them.
_WITHOUT_EFFECT = ("tx=commit", "tx=rollback")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences of a request.

    Attributes:
        values: The values by name, without those that PostgREST ignores.
        max_affected: How many rows may be affected. `None` without a limit.
        invalid: Preferences that PostgREST does not know either.
    """

    values: dict[str, str]
    max_affected: int | None
    invalid: tuple[str, ...]

    @classmethod
    def parse(cls, headers: Iterable[str]) -> Preferences:
        """Read the header, which may be sent more than once. The first value of a name is used.

        Raises:
            RestError: PostgREST knows a preference that the local stack does not support.
        """
        values: dict[str, str] = {}
        limits: list[str] = []
        invalid: list[str] = []
        for preference in (part.strip() for header in headers if header for part in header.split(",")):
            name, _, value = preference.partition("=")
            if preference in _REFUSED or name == "timezone":
                raise unsupported(f"the preference {preference}")
            if value in _KNOWN.get(name, ()):
                values.setdefault(name, value)
            elif name == "max-affected":
                limits.append(value)
            elif preference not in _WITHOUT_EFFECT:
                invalid.append(preference)
        is_number = bool(limits) and INTEGER.fullmatch(limits[0])
        return cls(values, int(limits[0]) if is_number else None, tuple(invalid))

    @property
    def is_strict(self) -> bool:
        """Whether an unknown preference, or an exceeded limit, is an error."""
        return self.values.get("handling") == "strict"

    @property
    def counts(self) -> bool:
        """Whether to count the matching rows. If the number is estimated, only some of them."""
        return self.values.get("count") in ("exact", "estimated")

    @property
    def estimates(self) -> bool:
        """Whether the number of matching rows is that of the planner if they are too many to count."""
        return self.values.get("count") == "estimated"

    @property
    def plans(self) -> bool:
        """Whether the number of matching rows is that of the planner."""
        return self.values.get("count") == "planned"

    @property
    def wants_rows(self) -> bool:
        """Whether the response to a change has the changed rows."""
        return self.values.get("return") == "representation"

    @property
    def resolution(self) -> str | None:
        """What to do with an inserted row that exists already."""
        return self.values.get("resolution")

    def check(self) -> None:
        """Check that no preference is invalid, if they are handled strictly.

        Raises:
            RestError: One is invalid (PGRST122).
        """
        if self.invalid and self.is_strict:
            details = f"Invalid preferences: {', '.join(self.invalid)}"
            raise RestError(400, "PGRST122", "Invalid preferences given with handling=strict", details=details)
