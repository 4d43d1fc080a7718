"""Measures whether each hot path costs the same beside many finished runs as beside few.

Two databases on one server are filled (`growth_data.py`) and measured in turn, in one run. The figure of a path is the
median of its calls, and its ratio that of the large database to the small one. What fits is in the cache of the server,
the rest in that of the system.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from rich.console import Console

from scripts.bench.growth_data import EXPIRED_RUNS, HEAVY_USER, Database, fill
from scripts.bench.load_pages import BenchPage, make_page, page_to_save
from scripts.bench.report import Column, Report, add_json_argument, reporting
from scripts.bench.runs_figures import cpu_seconds
from worker.local.loopback import free_port
from worker.local.migration_files import migrations_folder
from worker.local.supabase.migrations import apply_migrations
from worker.local.supabase.postgres import Postgres

SITE = "linkedin"
KNOWN_ITEMS, MERGED_ITEMS = 40, 20
"""Of the 100 items of a page: those that are known, and those that are a known thing of another site."""

WARM_UP = 10
"""Rounds that do not count: plans are made, and caches are filled."""

COUNTED_ROUNDS = 10
"""Rounds in which the blocks are counted that each call looks at: they do not depend on caches and neighbours."""

COSTED_RUNS = 20
"""Runs whose CPU time and WAL are counted."""

_PASSWORD = "growth"  # noqa: S105 - of a database on loopback without any secret
# Without autovacuum, which would disturb some calls: the databases are vacuumed before they are measured.
_SETTINGS = {"shared_buffers": "2GB", "max_wal_size": "2GB", "effective_cache_size": "8GB", "autovacuum": "off"}

# Indexes last: of a database that is larger than the cache, they stay.
_PREWARM: LiteralString = """
select sum(pg_prewarm(known.oid, 'read'))
from (
    select oid from pg_class
    where relkind in ('r', 't', 'i') and relpersistence = 'p' and relnamespace <> 'pg_catalog'::regnamespace
    order by relkind = 'i'
) as known
"""
_SIZES: LiteralString = """
select known.relid::regclass::text, known.n_live_tup,
       pg_table_size(known.relid), pg_indexes_size(known.relid)
from pg_stat_user_tables as known
where known.n_live_tup > 0 and pg_total_relation_size(known.relid) > 100000
order by pg_total_relation_size(known.relid) desc
"""
# With the weight of their results: things that many runs have found are found again most.
_KNOWN: LiteralString = """
select to_jsonb(item) || jsonb_build_object('external_id', split_part(item.canonical_key, ':', 2))
from (
    select distinct on (sample.item_id) sample.item_id
    from (
        select result.item_id, result.run_id from public.search_results as result
        where result.site = %s and result.created_at between now() - interval '85 days' and now() - interval '1 day'
        order by result.id
        limit %s
    ) as sample
) as known
join public.items as item on item.id = known.item_id
order by md5(item.id::text)
limit %s
"""
_OTHERS: LiteralString = """
select to_jsonb(item) from public.items as item
where item.canonical_key like 'indeed:%%' and item.duplicate_of is null
order by item.id
limit %s
"""
_SAVE: LiteralString = "select public.worker_save_pages(%s)"
_CLAIM: LiteralString = """
select run_id, lease_token from public.worker_claim_runs('growth', '{jobs}', 1, 600, %s, '[]', null, %s)
"""
_ENQUEUE: LiteralString = "select (public.enqueue_search('jobs', %s, fresh => true)).id"
_HISTORY: LiteralString = "select * from public.search_runs where user_id = %s order by created_at desc limit 20"
_PAGE_OF_RESULTS: LiteralString = "select public.page_of_run_items(%s)"
_USUAL_USER: LiteralString = """
select run.user_id from public.search_runs as run
where run.user_id <> %s and run.items_found > 0 and run.created_at > now() - interval '80 days'
order by run.id limit 1
"""
_OLD_RUNS: LiteralString = """
select id from public.search_runs
where user_id = %s and items_found > 0 and created_at > now() - interval '80 days'
order by id limit 10
"""

progress = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


@dataclass(slots=True)
class Member:
    """A user under row level security.

    Attributes:
        id: The user's id.
        database: A connection with the rights of the user.
        run_ids: Up to ten runs of the user with results.
    """

    id: str
    database: Database
    run_ids: Sequence[UUID] = ()


@dataclass(slots=True)
class Probed:
    """A database that is measured.

    Attributes:
        name: Its name.
        owner: A connection of the owner of the tables.
        usual: A user with few runs.
        heavy: The user with most runs.
        admin: A connection of an admin.
        known: Items that runs have found at the site that is searched.
        others: Items that runs have found at another site.
        monitor: A connection to another database of the server.
        took: Seconds of each call, by path.
        blocks: Blocks that each call has looked at, by path; while `is_counting`.
    """

    name: str
    owner: Database
    usual: Member
    heavy: Member
    admin: Database
    known: Sequence[Any]
    others: Sequence[Any]
    monitor: Database
    is_counting: bool = False
    took: dict[str, list[float]] = field(default_factory=dict)
    blocks: dict[str, list[int]] = field(default_factory=dict)

    def timed(self, path: str, database: Database, query: LiteralString, arguments: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query, and keep its time, or the number of its blocks."""
        if self.is_counting:
            before = self._blocks(database)
            rows = database.execute(query, arguments, prepare=True).fetchall()
            self.blocks.setdefault(path, []).append(self._blocks(database) - before)
            return rows
        began = time.perf_counter()
        rows = database.execute(query, arguments, prepare=True).fetchall()
        self.took.setdefault(path, []).append(time.perf_counter() - began)
        return rows

    def _blocks(self, database: Database) -> int:
        database.execute("select pg_stat_force_next_flush()")
        read: LiteralString = "select blks_hit + blks_read from pg_stat_database where datname = %s"
        (blocks,) = self.monitor.execute(read, [self.name]).fetchone() or (0,)
        return int(blocks)

    def probe(self, number: int) -> None:
        """Call each path once.

        Args:
            number: Number of the round, from 0: it chooses what is searched and what is found.
        """
        member = self.usual if number % 2 else self.heavy
        run_id = self.probe_run(member, number)
        self.timed("page of results, just found", member.database, _PAGE_OF_RESULTS, [run_id])
        for name, member in (("usual", self.usual), ("heavy", self.heavy)):
            old = member.run_ids[number % len(member.run_ids)]
            self.timed(f"page of results, {name} user", member.database, _PAGE_OF_RESULTS, [old])
            self.timed(f"insights of a run, {name} user", member.database, "select public.insights_of_run(%s)", [old])
            self.timed(f"history, {name} user", member.database, _HISTORY, [member.id])
        self._probe_operators()

    def probe_run(self, member: Member, number: int) -> UUID:
        """Insert, claim, search and end a run of a user, with one page. Return its id."""
        made = make_page(1, 1_000_000_000 + number)
        items = [
            *_part(self.known, KNOWN_ITEMS, number),
            *(item | {"external_id": f"{number} {item['id']}"} for item in _part(self.others, MERGED_ITEMS, number)),
            *made.items[KNOWN_ITEMS + MERGED_ITEMS :],
        ]
        page = [item | {"position": position} for position, item in enumerate(items, 1)]
        search = {"search_term": f"growth {number % 6}", "sites": [SITE], "results_wanted": 100}
        ((run_id,),) = self.timed("insert of a run", member.database, _ENQUEUE, [Jsonb(search)])
        claimed = self.timed("claim", self.owner, _CLAIM, [uuid4(), Jsonb({"jobs": {SITE: {}}})])
        ((_, token),) = claimed
        about = {"run_id": str(run_id), "lease_token": str(token)}
        found = page_to_save(run_id, token, SITE, BenchPage(made.number, made.raw, page))
        ((saved,),) = self.timed("save of a page of 100 items", self.owner, _SAVE, [Jsonb([found])])
        assert saved[0]["status"] == "completed", saved
        self.timed("heartbeat", self.owner, "select * from public.worker_heartbeat('growth', %s)", [Jsonb([about])])
        end = Jsonb([about | {"site": SITE, "ends_run": True}])
        ((ended,),) = self.timed("end of a run", self.owner, "select public.worker_finish_sites(%s)", [end])
        assert ended[0]["state"] == "done", ended
        return UUID(str(run_id))

    def _probe_operators(self) -> None:
        self.timed("admin_overview, 30 days", self.admin, "select public.admin_overview(now() - interval '30 days')")
        self.timed("admin_overview, 1 day", self.admin, "select public.admin_overview(now() - interval '1 day')")
        self.timed("admin_sites, 30 days", self.admin, "select * from public.admin_sites(now() - interval '30 days')")
        self.timed("admin_runs", self.admin, "select public.admin_runs()")
        self.timed("admin_runs, failed", self.admin, "select public.admin_runs(status => '{failed}')")
        self.timed("admin_runs, error code", self.admin, "select public.admin_runs(error_code => 'blocked')")
        self.timed("admin_runs, of a user", self.admin, "select public.admin_runs(user_id => %s)", [HEAVY_USER])
        self.timed("worker_health", self.owner, "select public.worker_health()")
        self.timed("alert rules", self.owner, "select public.worker_check_alerts()")
        self.owner.execute("update worker.housekeeping set next_at = '-infinity'")
        self.timed("count of ended runs", self.owner, "select public.worker_count_runs()")
        self.timed("retention, one batch", self.owner, "select public.worker_delete_expired()")

    def close(self) -> None:
        """Close the connections."""
        for connection in (self.owner, self.usual.database, self.heavy.database, self.admin, self.monitor):
            connection.close()


@contextmanager
def databases(folder: Path, sizes: Sequence[tuple[str, int, int]], rounds: int) -> Iterator[list[Probed]]:
    """Databases with as many runs and items as asked; those that the folder has already are used as they are."""
    # Without full pages in the WAL, of which random ids write many.
    with Postgres(folder, free_port(), password=_PASSWORD, settings=_SETTINGS, sync=False) as server:
        _fill_missing(server, sizes)
    with Postgres(folder, free_port(), password=_PASSWORD, settings=_SETTINGS) as server:
        administrator, owner = server.dsn(), server.dsn("postgres")
        probed = [_connected(administrator, owner, name, rounds) for name, _, _ in sizes]
        try:
            yield probed
        finally:
            for each in probed:
                each.close()


def _fill_missing(server: Postgres, sizes: Sequence[tuple[str, int, int]]) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as database:
        present = {name for (name,) in database.execute("select datname from pg_database")}
        missing = [size for size in sizes if size[0] not in present]
        if missing:
            apply_migrations(server.dsn("postgres"), migrations_folder())
        for name, _, _ in missing:
            database.execute(sql.SQL("create database {} template postgres").format(sql.Identifier(name)))
    for name, runs, items in missing:
        began = time.monotonic()
        connect = partial(psycopg.AsyncConnection.connect, server.dsn(), dbname=name, autocommit=True)
        asyncio.run(fill(connect, runs, items))
        progress.print(f"{name}: {runs:,} runs and {items:,} items in {time.monotonic() - began:.0f} s.")


def _connected(administrator: str, owner: str, name: str, rounds: int) -> Probed:
    with psycopg.connect(administrator, dbname=name, autocommit=True) as database:
        database.execute("vacuum analyze")
        database.execute("checkpoint")
        database.execute("create extension if not exists pg_prewarm")
        database.execute(_PREWARM)
    database = psycopg.connect(owner, dbname=name, autocommit=True)
    ((usual,),) = database.execute(_USUAL_USER, [HEAVY_USER])
    members = {}
    for user_id in (str(usual), HEAVY_USER):
        run_ids = [run_id for (run_id,) in database.execute(_OLD_RUNS, [user_id])]
        members[user_id] = Member(user_id, _signed_in(owner, name, {"sub": user_id}), run_ids)
    wanted = KNOWN_ITEMS * rounds
    known = [item for (item,) in database.execute(_KNOWN, [SITE, 20 * wanted, wanted])]
    others = [item for (item,) in database.execute(_OTHERS, [MERGED_ITEMS * rounds])]
    admin = _signed_in(owner, name, {"app_metadata": {"role": "admin"}})
    monitor = psycopg.connect(owner, autocommit=True)
    return Probed(name, database, members[str(usual)], members[HEAVY_USER], admin, known, others, monitor)


def _signed_in(owner: str, name: str, claims: dict[str, Any]) -> Database:
    database = psycopg.connect(owner, dbname=name, autocommit=True)
    text = json.dumps({"role": "authenticated"} | claims)
    database.execute("select set_config('request.jwt.claims', %s, false)", [text])
    database.execute("set role authenticated")
    return database


def _part(items: Sequence[Any], size: int, number: int) -> list[Any]:
    """Return the next part of a sequence, and begin again at its end."""
    return [items[index % len(items)] for index in range(number * size, (number + 1) * size)]


def report_paths(report: Report, small: Probed, large: Probed) -> None:
    """Report the medians of each path, and their ratios."""
    rows = []
    for path, seconds in small.took.items():
        pair = median(seconds) * 1000, median(large.took[path]) * 1000
        blocks = median(small.blocks[path]), median(large.blocks[path])
        rows.append((path, *pair, pair[1] / pair[0], *blocks, blocks[1] / blocks[0]))
    report.table(
        "Medians of all calls",
        [
            Column("path"), *(Column(each.name, "ms", 2) for each in (small, large)), Column("ratio", digits=2),
            *(Column(f"blocks, {each.name}") for each in (small, large)), Column("ratio of blocks", digits=2),
        ],
        rows,
    )  # fmt: skip


def cost_of(probed: Probed, first: int) -> tuple[str, float, float]:
    """Return what a run with one page costs, from its insert to its end: the database, CPU in ms, WAL in kB.

    Args:
        probed: The database.
        first: Number of the first round.
    """
    processes = [database.info.backend_pid for database in (probed.owner, probed.usual.database, probed.heavy.database)]
    wal: LiteralString = "select pg_current_wal_insert_lsn() - '0/0'"
    (before,) = probed.owner.execute(wal).fetchone() or (0,)
    used = sum(map(cpu_seconds, processes))
    for number in range(first, first + COSTED_RUNS):
        probed.probe_run(probed.usual if number % 2 else probed.heavy, number)
    used = sum(map(cpu_seconds, processes)) - used
    (after,) = probed.owner.execute(wal).fetchone() or (0,)
    return probed.name, used / COSTED_RUNS * 1000, float(after - before) / COSTED_RUNS / 1000


def report_sizes(report: Report, probed: Probed) -> None:
    """Report how much disk each table takes."""
    report.table(
        f"Disk of {probed.name}",
        [
            Column("table"), Column("rows"), Column("a row", "B"), Column("its indexes", "B"), Column("all", "MB"),
        ],
        [
            (name, rows, of_table / rows, of_indexes / rows, (of_table + of_indexes) / 1e6)
            for name, rows, of_table, of_indexes in probed.owner.execute(_SIZES)
        ],
    )  # fmt: skip


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/growth", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000_000, help="of the large database (default: %(default)s)")
    parser.add_argument("--small", type=int, default=10_000, help="runs of the small database (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="calls of each path (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder in which the databases are kept for the next time")
    add_json_argument(parser)
    options = parser.parse_args()
    if min(options.runs, options.small) < 10 * EXPIRED_RUNS:
        parser.error(f"--runs and --small must be at least {10 * EXPIRED_RUNS}")
    sizes = [(f"{runs:,} runs", runs, runs * 3 // 10) for runs in (options.small, options.runs)]
    timed = WARM_UP + options.rounds
    rounds = timed + COUNTED_ROUNDS
    prepared = rounds + COSTED_RUNS
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as temporary:
        Path(temporary).chmod(0o755)
        with (
            reporting(options.json) as report,
            databases(options.data or Path(temporary), sizes, prepared) as probed,
        ):
            version = probed[0].owner.info.parameter_status("server_version")
            report.condition(f"PostgreSQL {version}, {os.cpu_count()} CPUs.")
            report.condition(f"{options.rounds} calls of each path, in turn.")
            for each in probed:
                report_sizes(report, each)
            for number in range(rounds):
                for each in probed if number // 2 % 2 else reversed(probed):
                    each.is_counting = number >= timed
                    each.probe(number)
                    if number < WARM_UP:
                        each.took.clear()
            report_paths(report, *probed)
            report.table(
                "A run with a page of 100 items, from its insert to its end",
                [Column("database"), Column("CPU", "ms"), Column("WAL", "kB")],
                [cost_of(each, rounds) for each in probed],
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
