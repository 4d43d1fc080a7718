"""The command `import`: makes a file a finished run of a user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from worker.cli.files import check_origin, error_in_words, explained
from worker.cli.usage import WrongUseError, source_named
from worker.database.queue import open_queue
from worker.engine.importing import ImportResult, RecordFile, import_file
from worker.errors import CallRefusedError, LeaseLostError, QueueError
from worker.printable import complain, say
from worker.settings import Settings
from worker.sources import Source

EXIT_FAILURE = 1
EXIT_USAGE = 2
WRONG_ARGUMENT = "22023"
"""SQLSTATE of an argument that the database refuses, such as an unknown user."""

HEARTBEATS_A_LEASE = 3


async def import_as_run(
    settings: Settings,
    known: Sequence[Source],
    name: str,
    path: Path,
    user: str,
    *,
    site: str | None,
    board: str | None,
) -> int:
    """Import a file as a run of a user and print the run's id; return the exit code: 1 if a record is invalid.

    Args:
        settings: Where to.
        known: All sources.
        name: The name of the source that reads the records.
        path: The file. It is read twice, so a pipe is refused.
        user: Id or e-mail address of the user.
        site: The site of the records; None: see `records_in`.
        board: The board of the records; None: see `Source.records_in`.
    """
    try:
        source = source_named(known, name)
        check_origin(source, site, board)
        with explained(str(path)):
            async with open_queue(settings) as queue:
                done = await import_file(
                    queue,
                    RecordFile(path, source, site, board),
                    user,
                    heartbeat_seconds=settings.lease_seconds / HEARTBEATS_A_LEASE,
                    on_error=lambda error: complain(error_in_words(error)),
                )
    except WrongUseError as error:
        complain(str(error))
        return EXIT_USAGE
    except LeaseLostError as error:
        complain(f"The import has ended: {error}")
        return EXIT_FAILURE
    except QueueError as error:
        complain(f"The queue cannot be used: {error}")
        is_wrong = isinstance(error, CallRefusedError) and error.code == WRONG_ARGUMENT
        return EXIT_USAGE if is_wrong else EXIT_FAILURE
    return _report(done, settings)


def _report(done: ImportResult, settings: Settings) -> int:
    say(str(done.run_id))
    if done.was_done_before and done.status == "running":
        complain(
            "The file is being imported. If the process that imports it has died, try again "
            f"in {settings.lease_seconds} s."
        )
        return EXIT_FAILURE
    if done.was_done_before:
        complain("The file was imported before.")
        return 0
    complain(f"Run: {done.status}. Items: {done.items:,}, invalid: {done.invalid:,}")
    return 0 if done.status == "success" and not done.invalid else EXIT_FAILURE
