"""The worker: settings in, searches done."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from worker.database.codec import exit_name
from worker.database.queue import Offer, Queue, WorkerInfo, open_queue
from worker.database.wakeup import Wakeup
from worker.engine.addresses import Address, addresses
from worker.engine.alerts import Checking, Notifying
from worker.engine.background import Background, Chore
from worker.engine.backup import Backup
from worker.engine.chores import (
    Counting,
    CountingRequests,
    Embedding,
    NearDuplicateMerging,
    Retention,
    Scheduling,
    SpoolRetention,
)
from worker.engine.embedding_models import Embedder, open_embedder
from worker.engine.load import MIB, Load
from worker.engine.loop import EXIT_SECONDS, Loop, LoopOptions
from worker.engine.reprocess import Reprocessed, Reprocessor
from worker.engine.spool import Spool
from worker.engine.watching import Watching, watching
from worker.engine.webhooks import FINISH_SECONDS, open_delivering
from worker.http import HttpSettings, open_http
from worker.http.exits import OWN_ADDRESS
from worker.http.usage import Usage
from worker.model import SiteLimits
from worker.processes.memory import Memory
from worker.settings import Settings
from worker.sources import Source, counts_by_exit, limits_of, usable_exits
from worker.sources.registry import by_site, instances, load_sources

HEARTBEATS_A_LEASE = 3
LAST_ROUND_SECONDS = 60
FIRST_ROUND_SECONDS = 30
EMBEDDING, MERGING, SENDING = "Embedding", "Merging near-duplicates", "Sending webhooks"
CHECKING, NOTIFYING = "Checking alert rules", "Sending notices"


class Worker:
    """Claims runs and searches them, until it is stopped.

    Nothing is opened before the first call of `run`, `drain`, `once` or `reprocess`, and each of these closes what it
    opened. As a context manager, a worker is stopped at the end of the block, and has ended when the block is left.

    Args:
        settings: Settings of the worker.
        http: How the sources send requests; by default from the environment.
        sources: The sources to search with, instead of the built-in and installed ones.
        extra_sources: Sources to search with besides those. A source is an instance, or a class that is called without
            arguments.
        handle_signals: Whether SIGTERM and SIGINT call `stop` while the worker works. False inside an application
            that handles signals itself.

    Raises:
        SettingsError: The service key is missing, a setting of a source is wrong, a source cannot be used, or a site
            has no exit.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        http: HttpSettings | None = None,
        sources: Iterable[Source | type[Source]] | None = None,
        extra_sources: Iterable[Source | type[Source]] = (),
        handle_signals: bool = True,
    ) -> None:
        self._settings = settings
        self._http = http or HttpSettings()
        self._key = settings.require("supabase_service_role_key")
        self._sources = load_sources() if sources is None else instances(sources)
        self._sources += instances(extra_sources)
        self._sources_by_site = by_site(self._sources)
        self._exits = self._http.all_exits()
        self._exits_of = {
            site: usable_exits(self._exits, source, site) for (_, site), source in self._sources_by_site.items()
        }
        self._handle_signals = handle_signals
        self._stops = 0
        self._working: tuple[Background | Loop | Watching, ...] = ()
        self._has_ended = asyncio.Event()
        self._has_ended.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stops == 0:
            self.stop()
        await self._has_ended.wait()

    def stop(self) -> None:
        """Stop: claim nothing more, and give running searches the grace period to end.

        A second call releases them at once, for another worker to resume; further calls have no effect. A worker that
        was stopped does not start again. Call it in the thread of the event loop; also before the worker starts.
        """
        self._stops += 1
        for part in self._working:
            part.stop()

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            QueueError: The database refused the first claim.
            VersionMismatchError: The database was upgraded to a version that this worker does not support.
            SettingsError: The embedding model or Apprise is not installed, an address for alerts is wrong, or the port
                of `WORKER_HTTP_PORT` cannot be opened.
            RuntimeError: The worker works already.
        """
        await self._work(self._options())

    async def drain(self, max_seconds: float) -> None:
        """Search what is in the queue, then end; what still runs after `max_seconds` is released.

        Raises:
            QueueError: The database refused a claim, or cannot be reached.
            SettingsError: The embedding model or Apprise is not installed, or an address for alerts is wrong.
            RuntimeError: The worker works already.
        """
        await self._work(self._options(until_empty=True, max_seconds=max_seconds))

    async def once(self) -> None:
        """Search the next run of the queue, if there is one, then end.

        Raises:
            QueueError: The database refused the claim, or cannot be reached.
            SettingsError: The embedding model or Apprise is not installed, or an address for alerts is wrong.
            RuntimeError: The worker works already.
        """
        await self._work(self._options(until_empty=True, max_runs=1))

    async def reprocess(
        self, *, since: datetime | None = None, source: str | None = None, status: str | None = None
    ) -> Reprocessed:
        """Parse stored pages again, with the current version of their sources and without a request to any site.

        Pages that were already waiting to be reprocessed are included. Other workers may process some of the pages.

        Args:
            since: Only pages fetched since then.
            source: Only pages of this source.
            status: Only pages with this result: `completed`, `partial` or `failed`.

        Returns:
            Counts of the pages that this worker processed.

        Raises:
            ValueError: This worker does not have the source.
            QueueError: The database refused a call, or cannot be reached. The next call resumes.
        """
        names = [known.name for known in self._sources]
        if source is not None and source not in names:
            raise ValueError(f"source must be one of {', '.join(names)}")
        async with open_queue(self._settings) as queue:
            await queue.mark_for_reprocessing(since=since, source=source, status=status)
            reprocessor = Reprocessor(queue, self._sources)
            done = Reprocessed()
            while (batch := await reprocessor.batch()).pages:
                done += batch
            return done

    async def _work(self, options: LoopOptions) -> None:
        if not self._has_ended.is_set():
            raise RuntimeError("this worker works already")
        if self._stops:
            return
        self._has_ended.clear()
        try:
            await self._open_and_work(options)
        finally:
            self._working = ()
            self._has_ended.set()

    async def _open_and_work(self, options: LoopOptions) -> None:
        settings = self._settings
        alert_addresses = addresses(settings)
        clock = asyncio.get_running_loop().time
        began_at = clock()
        load = Load(settings.concurrency, Memory(settings.memory_mb and settings.memory_mb * MIB))
        await load.look(running=0)
        spool, usage = Spool(settings.spool_dir), Usage()
        async with (
            open_embedder(settings) as embedder,
            self._watching(options, load, spool) as watching,
            open_queue(settings, make=watching.queue) as queue,
            open_http(self._http) as http,
            open_delivering(settings, self._http, queue) as delivering,
        ):
            execution = watching.execution(
                queue,
                self._sources_by_site,
                spool,
                http,
                page_timeout_seconds=settings.site_timeout_seconds,
                child_place=load.child_place,
                usage=usage,
                backup=Backup(settings.backup_dir) if settings.backup_dir else None,
            )
            wakeup = Wakeup(poll_seconds=settings.poll_seconds, poll_idle_seconds=settings.poll_idle_seconds)
            counting = CountingRequests(queue, usage)
            background, merging, on_new_items = self._background(queue, embedder, watching, counting, spool)
            sending = [] if delivering is None else [Background(watching.chores({SENDING: delivering}))]
            finishing = [] if delivering is None else [Background({SENDING: delivering.finish})]

            def ring_sending() -> None:
                for each in sending:
                    each.ring(SENDING)

            chores = [background, *merging, *sending, *_alerting(queue, alert_addresses, ring_sending, watching)]
            # Apart from the others, because embedding a batch may take minutes.
            scheduling = Background(watching.chores({"Firing schedules": Scheduling(queue)}))

            def on_searched() -> None:
                on_new_items()
                ring_sending()

            loop = Loop(
                queue,
                execution,
                wakeup,
                self._offer(),
                options,
                limit=lambda: load.limit,
                about=self._about(),
                on_searched=on_searched,
            )
            watching.gauge("running_searches", "Running searches of runs.", lambda: loop.running)
            if self._stops:
                return
            self._working = *chores, *finishing, scheduling, loop, watching
            with self._stopped_by_signals():
                beside = [asyncio.create_task(load.watch(lambda: loop.running, watching.on_lag))]
                if options.until_empty and options.max_runs is None:
                    await scheduling.work_off(min(FIRST_ROUND_SECONDS, options.max_seconds or FIRST_ROUND_SECONDS))
                if options.max_runs is None:
                    beside += [asyncio.create_task(each.run()) for each in chores]
                if not options.until_empty:
                    beside.append(asyncio.create_task(scheduling.run()))
                    beside.append(asyncio.create_task(wakeup.listen(settings.supabase_url, self._key)))
                try:
                    await loop.work()
                    await _finish(chores, options, clock() - began_at)
                finally:
                    for task in beside:
                        task.cancel()
                    await asyncio.gather(*beside, return_exceptions=True)
                await counting.finish()
                if options.until_empty:
                    await _last_round(chores, merging, finishing, options, clock() - began_at)

    def _about(self) -> WorkerInfo:
        sites: defaultdict[str, list[str]] = defaultdict(list)
        for (kind, site), source in self._sources_by_site.items():
            if all(source.credentials.values()):
                sites[kind].append(site)
        exits = [exit_name(each) for each in self._exits]
        return WorkerInfo(self._settings.concurrency, dict(sites), exits, datetime.now(UTC))

    def _offer(self) -> Offer:
        """Return what claims may start: searches of sites that need no credentials, or whose credentials are there."""
        limits: defaultdict[str, dict[str, dict[str, SiteLimits]]] = defaultdict(dict)
        for (kind, site), source in self._sources_by_site.items():
            if all(source.credentials.values()):
                limits[kind][site] = limits_of(source, site)
        exits = {
            site: exits
            for (_, site), source in self._sources_by_site.items()
            if counts_by_exit(source) and (exits := self._exits_of[site]) != (OWN_ADDRESS,)
        }
        return Offer(frozenset(source.kind for source in self._sources), limits, exits)

    def _watching(self, options: LoopOptions, load: Load, spool: Spool) -> AbstractAsyncContextManager[Watching]:
        """Serve the pages of a worker that runs until it is stopped."""
        if options.until_empty:
            return nullcontext(Watching())
        pause_seconds = max(self._settings.poll_idle_seconds, options.heartbeat_seconds)
        return watching(self._settings, self._sources_by_site, load, spool, pause_seconds=pause_seconds)

    def _background(
        self, queue: Queue, embedder: Embedder | None, watching: Watching, counting: Chore, spool: Spool
    ) -> tuple[Background, list[Background], Callable[[], None]]:
        """Return what there is to do beside the searches, and what to call when a search has brought new items.

        Merging is apart: while the model embeds items, the database and this process compare those before.
        """
        others: dict[str, Chore] = {
            "Reprocessing": Reprocessor(queue, self._sources),
            "Counting runs": Counting(queue),
            "Counting requests": counting,
            "Deleting what is old": Retention(queue),
            "Deleting old pages on disk": SpoolRetention(spool),
        }
        if embedder is None:
            return Background(watching.chores(others)), [], lambda: None
        merging = Background(watching.chores({MERGING: NearDuplicateMerging(queue)}))
        embedding = Embedding(queue, embedder, on_saved=lambda: merging.ring(MERGING))
        background = Background(watching.chores({EMBEDDING: embedding, **others}))
        return background, [merging], lambda: background.ring(EMBEDDING)

    def _options(
        self, *, until_empty: bool = False, max_runs: int | None = None, max_seconds: float | None = None
    ) -> LoopOptions:
        return LoopOptions(
            claim_batch=self._settings.claim_batch,
            heartbeat_seconds=self._settings.lease_seconds / HEARTBEATS_A_LEASE,
            grace_seconds=self._settings.grace_seconds,
            until_empty=until_empty,
            max_runs=max_runs,
            max_seconds=max_seconds,
        )

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        signals = (signal.SIGTERM, signal.SIGINT) if self._handle_signals else ()
        events = asyncio.get_running_loop()
        for number in signals:
            events.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in signals:
                events.remove_signal_handler(number)


def _alerting(
    queue: Queue, to: Sequence[Address], ring_sending: Callable[[], None], watching: Watching
) -> list[Background]:
    """Return what checks the alert rules and, apart from that because a mail server may be slow, sends notices."""
    notifying = [Background(watching.chores({NOTIFYING: Notifying(queue, to)}))] if to else []

    def on_changed() -> None:
        ring_sending()
        for each in notifying:
            each.ring(NOTIFYING)

    return [Background(watching.chores({CHECKING: Checking(queue, on_changed)})), *notifying]


def _last_seconds(options: LoopOptions, passed_seconds: float) -> float:
    """Return how long what follows the searches may take."""
    return LAST_ROUND_SECONDS if options.max_seconds is None else options.max_seconds - EXIT_SECONDS - passed_seconds


async def _finish(chores: Iterable[Background], options: LoopOptions, passed_seconds: float) -> None:
    """Wait for the batches in hand, if the worker ends because the queue is empty."""
    if options.until_empty:
        seconds = _last_seconds(options, passed_seconds)
        await asyncio.gather(*(each.finish(seconds) for each in chores))


async def _last_round(
    chores: Iterable[Background],
    merging: Iterable[Background],
    finishing: Iterable[Background],
    options: LoopOptions,
    passed_seconds: float,
) -> None:
    """Do what is due, in the time that is left; without a limit, one batch of each chore, to its end.

    Merging has a second turn, with what has been embedded in the first one.
    """
    if options.max_seconds is None:
        for some in (chores, merging):
            await asyncio.gather(*(each.work_off(LAST_ROUND_SECONDS, rounds=1) for each in some))
        await asyncio.gather(*(each.work_off(FINISH_SECONDS) for each in finishing))
    else:
        # A chore is due until what it has begun has ended.
        clock = asyncio.get_running_loop().time
        ends_at = clock() + _last_seconds(options, passed_seconds)
        for some in (chores, merging):
            await asyncio.gather(*(each.work_off(ends_at - clock()) for each in some))
