"""Which transactions a snapshot of Postgres sees."""

from __future__ import annotations

import pytest

from worker.local.supabase.realtime.snapshot import sees_all

WRAPPED = 3 * 2**32


@pytest.mark.parametrize(
    ("snapshot", "xids", "expected"),
    [
        ("100:100:", [], True),
        ("100:100:", [99], True),
        ("100:100:", [100], False),  # it has begun after the last one that has ended
        ("100:103:100,102", [99, 101], True),
        ("100:103:100,102", [101, 102], False),
        (f"{WRAPPED + 5}:{WRAPPED + 8}:{WRAPPED + 5}", [5], False),
        (f"{WRAPPED + 5}:{WRAPPED + 8}:{WRAPPED + 5}", [6, 2**32 - 3], True),
        (f"{WRAPPED - 4}:{WRAPPED - 1}:{WRAPPED - 4}", [2**32 - 3], True),
        (f"{WRAPPED - 4}:{WRAPPED - 1}:{WRAPPED - 4}", [2**32 - 4], False),
        (f"{WRAPPED - 4}:{WRAPPED - 1}:{WRAPPED - 4}", [5], False),  # after `xmax`, in the next epoch
    ],
)
def test_a_snapshot_sees_what_had_ended(snapshot: str, xids: list[int], *, expected: bool) -> None:
    assert sees_all(snapshot, xids) is expected
