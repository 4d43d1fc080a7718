"""The `Prefer` header: what it asks for, and what of it was applied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from worker.local.supabase.rest.errors import RestError, unknown

_KNOWN = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "missing": ("null",),
    "return": ("representation", "minimal"),
    "count": ("exact",),
    "handling": ("strict", "lenient"),
}
_REFUSED = ("missing=default", "return=headers-only", "count=planned", "count=estimated")
# PostgREST takes them, and does nothing about them unless it is configured to.
_WITHOUT_EFFECT = ("tx=commit", "tx=rollback")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a request prefers.

    Attributes:
        values: By name, without those that PostgREST passes over.
        max_affected: How many rows a change may affect. No limit if None.
        invalid: What PostgREST does not know either.
    """

    values: dict[str, str]
    max_affected: int | None
    invalid: tuple[str, ...]

    @classmethod
    def parse(cls, headers: Iterable[str]) -> Preferences:
        """Read the header, which may be sent more than once. Of equal names the first one counts.

        Raises:
            RestError: It has what PostgREST knows, and the local stack does not.
        """
        values: dict[str, str] = {}
        limits: list[str] = []
        invalid: list[str] = []
        for preference in (part.strip() for header in headers if header for part in header.split(",")):
            name, _, value = preference.partition("=")
            if preference in _REFUSED or name == "timezone":
                raise unknown(f"the preference {preference}")
            if value in _KNOWN.get(name, ()):
                values.setdefault(name, value)
            elif name == "max-affected":
                limits.append(value)
            elif preference not in _WITHOUT_EFFECT:
                invalid.append(preference)
        is_number = bool(limits) and _INTEGER.fullmatch(limits[0])
        return cls(values, int(limits[0]) if is_number else None, tuple(invalid))

    @property
    def is_strict(self) -> bool:
        """Whether what is not known, or exceeded, is an error."""
        return self.values.get("handling") == "strict"

    @property
    def counts(self) -> bool:
        """Whether to count what matches."""
        return "count" in self.values

    @property
    def wants_rows(self) -> bool:
        """Whether a change answers with the rows that it changed."""
        return self.values.get("return") == "representation"

    @property
    def resolution(self) -> str | None:
        """What becomes of a row that there is already."""
        return self.values.get("resolution")

    def check(self) -> None:
        """Check that nothing invalid is handled strictly.

        Raises:
            RestError: There is (PGRST122).
        """
        if self.invalid and self.is_strict:
            details = f"Invalid preferences: {', '.join(self.invalid)}"
            raise RestError(400, "PGRST122", "Invalid preferences given with handling=strict", details=details)

    def applied(self, *, method: str, is_rpc: bool, has_conflict_target: bool) -> str:
        """Return what of it is applied to such a request, as the header `Preference-Applied` says it."""
        is_change = not is_rpc and method in ("POST", "PATCH", "DELETE")
        applies = {
            "resolution": is_change and method == "POST" and has_conflict_target,
            "missing": is_change and method != "DELETE",
            "return": is_change,
            "count": True,
            "handling": True,
        }
        parts = [f"{name}={self.values[name]}" for name in _KNOWN if name in self.values and applies[name]]
        if self.max_affected is not None and self.is_strict and (is_rpc or method in ("PATCH", "DELETE")):
            parts.append(f"max-affected={self.max_affected}")
        return ", ".join(parts)
