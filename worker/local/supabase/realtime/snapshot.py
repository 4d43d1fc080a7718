"""Whether a statement sees a transaction.

The stream has a change once its commit is in the WAL. Other sessions see the commit a moment later; much later if it
waits for a standby, or for a processor on a busy machine.

Source: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
"""

from __future__ import annotations

from collections.abc import Collection

_XIDS = 2**32


def sees_all(snapshot: str, xids: Collection[int]) -> bool:
    """Return whether a snapshot sees the effects of transactions that are committed in the WAL.

    Args:
        snapshot: As `pg_current_snapshot()` writes it.
        xids: Ids of the transactions, with 32 bits, as the stream has them.
    """
    _, xmax, running = snapshot.split(":")
    unfinished = {int(xid) % _XIDS for xid in running.split(",") if xid}
    # 32 bits have no order of their own: half of the ids are before `xmax`, and the others are not.
    return not any(xid in unfinished or (xid - int(xmax)) % _XIDS < _XIDS // 2 for xid in xids)
