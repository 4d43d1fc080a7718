"""Finds out which channels receive which of the committed changes, and what each of them may see."""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import psycopg

from worker.local.supabase.realtime import wal
from worker.local.supabase.realtime.bindings import Binding
from worker.local.supabase.realtime.channel import Channel
from worker.local.supabase.realtime.filters import Connection, Filter
from worker.local.supabase.realtime.identity import Identity
from worker.local.supabase.realtime.published_table import Changes, PublishedTable

logger = logging.getLogger(__name__)


class Delivery(NamedTuple):
    """A change to be sent to a channel.

    Attributes:
        position: Position of the change in its batch.
        binding_ids: The bindings of the channel that receive it.
        data: The change, as JSON.
    """

    position: int
    channel: Channel
    binding_ids: Sequence[int]
    data: str


class _Listener(NamedTuple):
    """A channel with bindings that cover a table."""

    channel: Channel
    identity: Identity
    bindings: Sequence[Binding]


class _Draft(NamedTuple):
    """A change that the filters of a channel accept, for the bindings that select the same columns."""

    position: int
    listener: _Listener
    select: tuple[str, ...] | None
    binding_ids: Sequence[int]


class _KnownTable(NamedTuple):
    """A table as it was read when the stream described its relation, for some roles."""

    relation: wal.Relation
    roles: frozenset[str]
    table: PublishedTable


class Deliveries:
    """Prepares deliveries for the channels of a stream.

    Args:
        connection: Connection as a superuser.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tables: dict[int, _KnownTable] = {}

    async def of(
        self, changes: Sequence[wal.Change], channels: Collection[Channel]
    ) -> tuple[list[Delivery], set[Channel]]:
        """Return what to send, in the order of the changes, and the channels that lose changes because of an error.

        Args:
            changes: A batch of committed changes, in order.
            channels: The channels with checked bindings.

        Raises:
            psycopg.Error: The connection is closed.
        """
        by_table: defaultdict[int, dict[int, wal.Change]] = defaultdict(dict)
        for position, change in enumerate(changes):
            by_table[change.relation.oid][position] = change
        found: list[Delivery] = []
        losing: set[Channel] = set()
        for part in by_table.values():
            relation = [*part.values()][-1].relation
            listeners = _listeners(channels, relation)
            try:
                found += await self._of_table(part, listeners)
            except psycopg.Error:
                if self._connection.closed:
                    raise
                # A filter no longer fits the table, or the table was altered after the change.
                logger.exception("lost changes of %s.%s", relation.schema, relation.table)
                losing.update(listener.channel for listener in listeners)
                self._tables.pop(relation.oid, None)
        return sorted(found, key=lambda delivery: delivery.position), losing

    async def _of_table(self, changes: Changes, listeners: Sequence[_Listener]) -> list[Delivery]:
        bindings = [binding for listener in listeners for binding in listener.bindings]
        events = {binding.event for binding in bindings}
        changes = {position: change for position, change in changes.items() if events & {"*", change.type}}
        if not changes:
            return []
        relation = [*changes.values()][-1].relation
        table = await self._table(relation, frozenset(listener.identity.role for listener in listeners))
        if not table.columns:
            return []
        passed = await table.passed(self._connection, changes, {f for binding in bindings for f in binding.filters})
        accepted = list(_drafts(table, listeners, changes, passed))
        hidden = await _hidden(self._connection, table, changes, accepted)
        drafts = [draft for draft in accepted if draft.position not in hidden.get(draft.listener.identity, ())]
        # Last, because most changes are for nobody: a worker listens for new runs, and each run changes several times.
        renderings = await table.render(self._connection, {draft.position: changes[draft.position] for draft in drafts})
        return [
            Delivery(position, listener.channel, ids, table.data(renderings[position], listener.identity.role, select))
            for position, listener, select, ids in drafts
        ]

    async def _table(self, relation: wal.Relation, roles: frozenset[str]) -> PublishedTable:
        # The stream describes a relation again after its columns or privileges have changed.
        known = self._tables.get(relation.oid)
        if known is None or known.relation is not relation:
            known = await self._read_table(relation, roles)
        elif not roles <= known.roles:
            known = await self._read_table(relation, roles | known.roles)
        return known.table

    async def _read_table(self, relation: wal.Relation, roles: frozenset[str]) -> _KnownTable:
        table = await PublishedTable.read(self._connection, relation.oid, roles)
        self._tables[relation.oid] = _KnownTable(relation, roles, table)
        return self._tables[relation.oid]


def _listeners(channels: Collection[Channel], relation: wal.Relation) -> list[_Listener]:
    return [
        _Listener(channel, channel.identity, bindings)
        for channel in channels
        if (bindings := [b for b in channel.bindings if b.covers(relation.schema, relation.table)])
    ]


def _drafts(
    table: PublishedTable,
    listeners: Sequence[_Listener],
    changes: Changes,
    passed: Mapping[int, frozenset[Filter]],
) -> Iterator[_Draft]:
    for listener, (position, change) in itertools.product(listeners, changes.items()):
        has_error = table.error(change, listener.identity.role) is not None
        bindings = [
            binding
            for binding in listener.bindings
            if binding.event in ("*", change.type) and (has_error or passed[position].issuperset(binding.filters))
        ]
        for select, ids in _by_selection(bindings):
            yield _Draft(position, listener, select, ids)


async def _hidden(
    connection: Connection, table: PublishedTable, changes: Changes, drafts: Sequence[_Draft]
) -> Mapping[Identity, Collection[int]]:
    """Return the positions of the changes that row level security hides from each identity."""
    if not table.has_rls:
        return {}
    protected: defaultdict[Identity, dict[int, wal.Change]] = defaultdict(dict)
    for position, listener, *_ in drafts:
        change = changes[position]
        if change.type != "DELETE" and not table.error(change, listener.identity.role):
            protected[listener.identity][position] = change
    return {identity: await table.hidden(connection, identity, part) for identity, part in protected.items()}


def _by_selection(bindings: Sequence[Binding]) -> Iterator[tuple[tuple[str, ...] | None, list[int]]]:
    """Yield the ids of the bindings by the columns that they select: one message for each."""
    ids: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for binding in bindings:
        ids[tuple(sorted(binding.select or ()))].append(binding.id)
    for select in sorted(ids, key=",".join):
        yield select or None, ids[select]
