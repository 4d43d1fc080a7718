"""The commands of a user for saved searches: save one, list them, repeat one at times of day, or end that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postgrest.exceptions import APIError

from worker.cli.terminal import open_console, saved_searches_table
from worker.database.user import User, signed_in
from worker.printable import complain, printable, say
from worker.settings import Settings

EXIT_FAILURE = 1
EXIT_USAGE = 2
NAME_TAKEN = "23505"
"""SQLSTATE of a name that is in use."""


async def save(settings: Settings, name: str, kind: str, parameters: Mapping[str, Any]) -> int:
    """Save a search under a name and print its id; return the exit code."""
    async with signed_in(settings) as user:
        try:
            saved = await user.save_search(name, kind, parameters)
        except APIError as error:
            if error.code != NAME_TAKEN:
                raise
            complain(f"Refused: another request has just saved a search of the name '{printable(name)}'. Try again.")
            return EXIT_USAGE
    say(saved["id"])
    return 0


async def searches(settings: Settings) -> int:
    """Print the saved searches, their schedules and what they have found."""
    async with signed_in(settings) as user:
        open_console().print(saved_searches_table(await user.saved_searches()))
    return 0


async def schedule(settings: Settings, name: str, times: Sequence[str], weekdays: Sequence[int], time_zone: str) -> int:
    """Repeat a saved search at times of day and print the next one; return the exit code."""
    async with signed_in(settings) as user:
        if (saved := await _named(user, name)) is None:
            return EXIT_FAILURE
        row = await user.schedule(saved["id"], times, weekdays, time_zone)
        say(row["next_slot_at"])
    return 0


async def unschedule(settings: Settings, name: str) -> int:
    """Stop to repeat a saved search; return the exit code."""
    async with signed_in(settings) as user:
        if (saved := await _named(user, name)) is None:
            return EXIT_FAILURE
        await user.unschedule(saved["id"])
    return 0


async def _named(user: User, name: str) -> dict[str, Any] | None:
    searches = await user.saved_searches()
    saved = next((saved for saved in searches if saved["name"] == name), None)
    if saved is None:
        names = ", ".join(printable(known["name"]) for known in searches)
        complain(f"You have no saved search '{printable(name)}'. You have: {names or 'none'}")
    return saved
