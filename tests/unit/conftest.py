"""What all unit tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import respx


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    """Plays hosts. A request that nothing is played for fails the test."""
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """For child processes of another user: below no folder of pytest's, because those are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
