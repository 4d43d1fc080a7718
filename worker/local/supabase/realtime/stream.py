"""Streams the WAL over the replication protocol: each change is decoded once, and arrives when it is committed.

Source of the messages: https://www.postgresql.org/docs/current/protocol-replication.html
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Iterator

import psycopg
from psycopg.pq import ExecStatus

from worker.local.supabase.realtime.filters import Connection
from worker.local.supabase.realtime.wal import Change, Decoder

CHANGES_PER_READ = 100  # the platform's `poll_max_changes`; whole transactions make it more

_WAL_HEADER = struct.Struct(">cQQQ")  # w, start, end, time
_KEEPALIVE = struct.Struct(">cQQB")  # k, end, time, whether a reply is asked for
_STATUS = struct.Struct(">cQQQQB")  # r, written, flushed, applied, time, whether a reply is asked for

# In a transaction, because its commit is flushed: the stream reaches it even if nothing else is committed.
_MARK = "select pg_logical_emit_message(true, 'supabase-search-worker', '')::text"
_PAUSE_SECONDS = 0.002


class Stream:
    """What is committed from its begin on. Use `Stream.of`.

    Args:
        connection: A connection in the mode of the stream.
    """

    def __init__(self, connection: Connection) -> None:
        self._pg = connection.pgconn
        self._decoder = Decoder()
        self._position = 0
        self._confirmed = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls, dsn: str, publications: str, *, slot: str, options: str, connect_timeout: int
    ) -> AsyncIterator[Stream]:
        """Begin a stream, in a session and with a temporary replication slot of its own; drop both at the end.

        Args:
            dsn: Connection URL of a superuser.
            publications: The names of the publications to follow, with commas between them.
            slot: What the name of the slot begins with.
            options: Settings of the session, as in `options` of a connection.
            connect_timeout: In seconds.

        Raises:
            psycopg.Error: The database does not answer, or refuses.
        """
        connection = await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=connect_timeout, options=options, replication="database"
        )
        try:
            name = f"{slot}_{connection.info.backend_pid}"
            await connection.execute(f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')")
            stream = cls(connection)
            await stream._start(name, publications)
            yield stream
        finally:
            await connection.close()  # its own context would send a `rollback` into the stream

    async def _start(self, slot: str, publications: str) -> None:
        options = f"proto_version '1', publication_names '{publications}'"
        self._pg.send_query(f"START_REPLICATION SLOT {slot} LOGICAL 0/0 ({options})".encode())
        self._pg.flush()
        while self._pg.is_busy():
            await self._arrival()
        answer = self._pg.get_result()
        if answer is None or answer.status != ExecStatus.COPY_BOTH:
            raise psycopg.OperationalError(answer.get_error_message() if answer else "the stream did not begin")

    def take(self) -> list[Change]:
        """Return changes of whole transactions that have arrived: up to `CHANGES_PER_READ` of them and a transaction.

        Raises:
            psycopg.OperationalError: The database has ended the stream.
        """
        if self._position > self._confirmed:
            self._send_status()
        taken: list[Change] = []
        self._pg.consume_input()
        while len(taken) < CHANGES_PER_READ and (message := self._next_message()) is not None:
            if message[:1] == b"w":
                taken += self._decoder.feed(message[_WAL_HEADER.size :])
            else:
                _, self._position, _, wants_reply = _KEEPALIVE.unpack(message)
                if wants_reply:
                    self._send_status()
        return taken

    async def take_all(self, connection: Connection) -> list[Change]:
        """Return all that was committed before the call, and perhaps more.

        Args:
            connection: Another connection of the database.

        Raises:
            psycopg.OperationalError: The database has ended the stream.
        """
        mark = await (await connection.execute(_MARK)).fetchone()
        assert mark is not None
        high, low = (int(part, 16) for part in mark[0].split("/"))
        taken: list[Change] = []
        while True:
            taken += (more := self.take())
            if self._position >= high << 32 | low:
                return taken
            if not more:
                self._send_status(wants_reply=True)
                await self._arrival()
                await asyncio.sleep(_PAUSE_SECONDS)

    @contextlib.contextmanager
    def signalling(self, arrived: asyncio.Event) -> Iterator[None]:
        """Set an event when something arrives."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pg.socket, arrived.set)
        try:
            yield
        finally:
            loop.remove_reader(self._pg.socket)

    async def _arrival(self) -> None:
        arrived = asyncio.Event()
        with self.signalling(arrived):
            await arrived.wait()
        self._pg.consume_input()

    def _next_message(self) -> bytes | None:
        length, message = self._pg.get_copy_data(1)
        if length < 0:
            answer = self._pg.get_result()
            raise psycopg.OperationalError(answer.get_error_message() if answer else "the stream has ended")
        return bytes(message) if length else None

    def _send_status(self, *, wants_reply: bool = False) -> None:
        self._confirmed = self._position
        self._pg.put_copy_data(_STATUS.pack(b"r", *[self._position] * 3, 0, wants_reply))
        self._pg.flush()
