"""Compares the messages of the local Realtime with those of Supabase's own SQL: same subscriptions, same changes."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
import websockets
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from scripts.realtime_cases import ALICE, BOB, CASES, Case
from scripts.supabase_realtime import SupabaseRealtime
from worker.local.loopback import bind
from worker.local.supabase.gateway import serving
from worker.local.supabase.realtime.errors import RefusedError
from worker.local.supabase.realtime.server import Realtime
from worker.local.supabase.tokens import Tokens

PATIENCE_SECONDS = 30
END = "the_end"  # a table that changes last
HEAD = re.compile(r".*(Exception: ERROR \w+ \(\w+\) |given connect parameters: .*)", re.DOTALL)
MAX_LINE_LENGTH = 400
PREFIX = "realtime:"
SECRET = "a secret of at least thirty-two bytes"  # noqa: S105 - of a throwaway database
CHANGE_AT_THE_END = "insert into the_end select count(*) from the_end"
SCHEMA = """
drop table if exists t; create table t ({columns}); alter table t enable row level security;
grant select on t to anon, authenticated; alter publication supabase_realtime add table t;
create policy everyone on t for select to anon, authenticated using ({policy});
"""
TYPES = """
create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0);
create type pair as (a int, b text);
create table if not exists the_end (id int primary key); alter publication supabase_realtime add table the_end;
grant select on the_end to authenticated;
"""
CLAIMS: Mapping[str, dict[str, Any]] = {
    "alice": {"role": "authenticated", "sub": ALICE},
    "bob": {"role": "authenticated", "sub": BOB},
    "anon": {"role": "anon"},
    "service": {"role": "service_role"},
}

Answer = list[Any]
"""The messages to a subscription: the changes, or the refusal."""


@dataclass
class Client:
    """Subscribes to the local Realtime, with one channel for each item, all on one socket."""

    connection: websockets.ClientConnection
    tokens: Tokens
    answers: defaultdict[str, Answer] = field(default_factory=lambda: defaultdict(list))

    async def subscribe(self, topic: str, claims: Mapping[str, Any], item: Mapping[str, Any]) -> None:
        """Wait until the subscription is confirmed or refused."""
        payload = {"config": {"postgres_changes": [item]}, "access_token": self.tokens.issue(dict(claims))}
        await self._send(topic, "phx_join", payload)
        while (message := await self._receive())[3] != "system":
            if message[4].get("status") == "error":
                self.answers[topic].append(message[4]["response"]["reason"])
                return
        if message[4]["status"] == "error":
            self.answers[topic].append(HEAD.sub("", message[4]["message"]))

    async def listen(self) -> None:
        """Record all changes until that of the last table."""
        while True:
            _, _, topic, event, payload = await self._receive()
            if topic == END and event == "postgres_changes":
                return
            if event == "postgres_changes" and payload["data"]["table"] != END:
                self.answers[topic].append(payload["data"])

    async def _send(self, topic: str, event: str, payload: Mapping[str, Any]) -> None:
        await self.connection.send(json.dumps(["1", "1", PREFIX + topic, event, payload]))

    async def _receive(self) -> list[Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            message: list[Any] = json.loads(await self.connection.recv(), parse_float=Decimal)
        message[2] = message[2].removeprefix(PREFIX)
        return message


@asynccontextmanager
async def clients_of(url: str, tokens: Tokens) -> AsyncIterator[dict[str, Client]]:
    """A client for each of `CLAIMS`, by name."""
    async with AsyncExitStack() as sockets:
        address = f"{url}/realtime/v1/websocket?apikey={tokens.api_key('anon')}&vsn=2.0.0"
        yield {
            name: Client(
                await sockets.enter_async_context(websockets.connect(address, max_size=None, compression=None)), tokens
            )
            for name in CLAIMS
        }


@asynccontextmanager
async def served(dsn: str, tokens: Tokens) -> AsyncIterator[str]:
    """Run the local Realtime on a database; yield its URL."""
    realtime = Realtime(dsn, tokens)
    app = Starlette(routes=[WebSocketRoute("/realtime/v1/websocket", realtime.websocket)])
    following = asyncio.create_task(realtime.run())
    try:
        with bind(0) as listener:
            async with serving(app, listener):
                yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        following.cancel()
        await asyncio.wait([following])


@dataclass
class Comparison:
    """Supabase's SQL and the local Realtime on one database.

    Attributes:
        database: Connects as a superuser, in autocommit mode.
        url: URL of the local Realtime.
    """

    database: psycopg.Connection[tuple[Any, ...]]
    supabase: SupabaseRealtime
    url: str
    tokens: Tokens

    async def ask_both(self, case: Case) -> list[tuple[str, Answer, Answer]]:
        """Return the subscribers with different messages: those of Supabase's SQL, and those of the local Realtime."""
        policy = "owner = (select auth.uid())" if "owner" in case.columns else "true"
        self._execute(SCHEMA.format(columns=case.columns, policy=policy), *case.before)
        items = [{"event": "*", "schema": "public", "table": "t", **item} for item in ({}, *case.items)]
        expected: dict[str, Answer] = {}
        answered: dict[str, Answer] = {}
        subscribers: dict[str, str] = {}
        async with clients_of(self.url, self.tokens) as clients:
            for (name, client), item in itertools.product(clients.items(), items):
                topic = f"{name} {len(expected)} {json.dumps(item)[:150]}"
                expected[topic], answered[topic] = [], client.answers[topic]
                await client.subscribe(topic, CLAIMS[name], item)
                try:
                    subscribers[self.supabase.subscribe(CLAIMS[name], item)] = topic
                except RefusedError as error:
                    expected[topic].append(str(error))
            for name, client in clients.items():
                await client.subscribe(END, CLAIMS[name], {"event": "*", "schema": "public", "table": END})
            list(self.supabase.changes())
            self._execute(*case.changes, CHANGE_AT_THE_END)
            for client in clients.values():
                await client.listen()
        for ids, change in self.supabase.changes():
            for subscriber in ids if change["table"] != END else ():
                expected[subscribers[subscriber]].append(change)
        self.supabase.forget()
        return [(topic, expected[topic], answered[topic]) for topic in expected if expected[topic] != answered[topic]]

    def _execute(self, *statements: str) -> None:
        for statement in statements:
            self.database.execute(statement.encode())


def _difference(theirs: object, ours: object) -> Iterator[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = [name for name in theirs | ours if theirs.get(name, "missing") != ours.get(name, "missing")]
        theirs, ours = ({name: change.get(name, "missing") for name in names} for change in (theirs, ours))
    if theirs != ours:
        yield f"Supabase: {theirs}"
        yield f"here:     {ours}"


async def compare(dsn: str, pattern: str) -> int:
    """Run the cases whose names match `pattern`. Return the number of cases that differ."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as database, SupabaseRealtime(dsn) as supabase:
        database.execute(TYPES.encode())
        tokens = Tokens(SECRET)
        async with served(dsn, tokens) as url:
            comparison = Comparison(database, supabase, url, tokens)
            differing = 0
            for case in CASES:
                if re.search(pattern, case.name):
                    differing += _report(case, await comparison.ask_both(case))
    return differing


def _report(case: Case, differences: list[tuple[str, Answer, Answer]]) -> bool:
    print(f"{'DIFFERS' if differences else 'same':8} {case.name}", flush=True)
    for topic, expected, answered in differences:
        print(f"    {topic}: Supabase sends {len(expected)}, here {len(answered)}")
        for theirs, ours in itertools.zip_longest(expected, answered):
            for line in _difference(theirs, ours):
                print(f"        {line[:MAX_LINE_LENGTH]}")
    return bool(differences)


def main() -> int:
    """Run the comparison. Return 0 if all messages are equal, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--real",
        required=True,
        metavar="URL",
        help="connection URL of a superuser of a scratch database that has Supabase's schema realtime, and wal2json",
    )
    parser.add_argument("--only", default="", help="cases whose names match this regular expression")
    options = parser.parse_args()
    return int(asyncio.run(compare(options.real, options.only)) > 0)


if __name__ == "__main__":
    sys.exit(main())
