"""All errors that a user of the library can catch have one base class."""

from __future__ import annotations

import pytest

from worker import errors
from worker.errors import BrokenSourceError, InvalidItemError, LeaseLostError, QueueError, SettingsError, WorkerError

RAISED = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", RAISED)
def test_every_error_is_one_of_the_library(kind: type[Exception]) -> None:
    assert issubclass(kind, WorkerError)


def test_what_an_error_is_besides() -> None:
    assert issubclass(LeaseLostError, QueueError)
    assert issubclass(BrokenSourceError, SettingsError)
    assert issubclass(InvalidItemError, ValueError)
