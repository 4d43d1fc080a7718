"""The commands of the operator for collections: apply a file of them, list them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.cli.collection_file import CollectionFile, in_words_of_the_file, read_collection_file
from worker.cli.terminal import collections_table, open_console
from worker.cli.usage import WrongUseError, refusal_in_words
from worker.database.queue import Queue, open_queue
from worker.errors import CallRefusedError, QueueError
from worker.printable import complain, say
from worker.settings import Settings

EXIT_FAILURE = 1
EXIT_USAGE = 2
WRONG_ARGUMENT, NO_SUCH_USER, NAME_TAKEN = "22023", "PT404", "23505"
"""SQLSTATEs of the database for what it refuses."""
PATIENCE_SECONDS = 30


async def apply(settings: Settings, path: Path) -> int:
    """Make the collections of a namespace those of a file and print what was changed; return the exit code."""
    try:
        file = read_collection_file(path)
        async with open_queue(settings) as queue:
            done = await _applied(queue, file)
    except WrongUseError as error:
        complain(str(error))
        return EXIT_USAGE
    except QueueError as error:
        if isinstance(error, CallRefusedError) and error.code == WRONG_ARGUMENT:
            complain(f"{path}: {in_words_of_the_file(refusal_in_words(error))}")
            return EXIT_USAGE
        if isinstance(error, CallRefusedError) and error.code == NAME_TAKEN:
            complain(f"{path}: user {file.user} has just saved a search under a name of these collections. Try again.")
            return EXIT_USAGE
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE
    unchanged = done["searches"] - done["added"] - done["changed"]
    say(
        f"{file.namespace}: {done['searches']} searches of {file.user}. Added: {done['added']}, "
        f"changed: {done['changed']}, removed: {done['removed']}, unchanged: {unchanged}"
    )
    return 0


async def _applied(queue: Queue, file: CollectionFile) -> Mapping[str, Any]:
    rows = file.as_rows()
    try:
        return await queue.apply_collections(file.namespace, file.user, rows, patience_seconds=PATIENCE_SECONDS)
    except CallRefusedError as error:
        if error.code != NO_SUCH_USER:
            raise
    # The collections are valid: the database looks for the user after it has checked them.
    await queue.create_user(file.user)
    complain(f"Created the user {file.user}, without a password.")
    return await queue.apply_collections(file.namespace, file.user, rows, patience_seconds=PATIENCE_SECONDS)


async def list_collections(settings: Settings) -> int:
    """Print the collections of all namespaces; return the exit code."""
    try:
        async with open_queue(settings) as queue:
            collections = await queue.collections(patience_seconds=PATIENCE_SECONDS)
            health = await queue.site_health(patience_seconds=PATIENCE_SECONDS)
    except QueueError as error:
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE
    open_console().print(collections_table(collections, {str(site["site"]): site for site in health}))
    return 0
