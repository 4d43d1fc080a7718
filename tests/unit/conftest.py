"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import respx


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    """Plays hosts. A request that nothing is played for fails the test."""
    with respx.mock(assert_all_called=False) as router:
        yield router
