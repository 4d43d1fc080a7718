"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import httpx
import pytest
import respx


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Reading them for each client takes longer than a search whose hosts are played."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "create_ssl_context", cache(httpx.create_ssl_context))
        yield


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    """Plays hosts. A request that nothing is played for fails the test."""
    with respx.mock(assert_all_called=False) as router:
        yield router
