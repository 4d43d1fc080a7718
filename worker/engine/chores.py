"""The background chores of a worker: fire schedules, embed and compare items, count runs, delete what is old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from uuid import UUID, uuid4

from worker.database.answers import ClaimedItems, NearDuplicates
from worker.database.queue import Queue
from worker.engine.background import ChoreError
from worker.engine.embedding_models import Embedder, EmbedderError, TextRefusedError, Vector
from worker.engine.spool import Spool
from worker.errors import QueueError
from worker.http.usage import Usage
from worker.pipeline.duplicates import facts_of, have_one_text, may_be_duplicates
from worker.pipeline.embeddings import embedding_text
from worker.processes.daemon_thread import in_daemon_thread

logger = logging.getLogger(__name__)

REPORT_SECONDS = 60
"""Pause between two reports of what was sent through each exit."""
LAST_REPORT_SECONDS = 2
"""Timeout of the last report."""
SPOOL_RETENTION_SECONDS = 3600
IDLE_SECONDS = 600
"""Pause while nothing is known to be due: other workers load items, too, and do not notify this one."""
EMBED_SECONDS = 240
"""Timeout of embedding a batch. A claim lasts five minutes; the rest of them is for saving."""
MAX_RETRY_PAUSE_SECONDS = 3600
MAX_SCHEDULING_SECONDS = 60
HELD_SECONDS = 5
"""Pause while schedules are due that another caller holds: it may be slow or dead."""
SAVED_EMBEDDINGS = 250
"""Embeddings of one call. The index of embeddings takes more than a millisecond for each."""
NEAR_DUPLICATES_BATCH = 100
COMPARED_TEXTS = 250
"""Pairs whose texts are read at once, so that they take a few megabytes."""


class Scheduling:
    """Fires the schedules that are due.

    Args:
        queue: The queue.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def __call__(self) -> float:
        """Decide a batch of schedules; return the seconds until the next one is due, at most a minute."""
        fired = await self._queue.fire_schedules()
        has_decided = fired.started or fired.skipped or fired.paused
        if has_decided:
            logger.info(
                "Schedules: %d runs started, %d slots skipped, %d paused", fired.started, fired.skipped, fired.paused
            )
        if fired.next_in_seconds == 0 and not has_decided:
            return HELD_SECONDS
        # Other schedules may be added meanwhile.
        return (
            MAX_SCHEDULING_SECONDS
            if fired.next_in_seconds is None
            else min(fired.next_in_seconds, MAX_SCHEDULING_SECONDS)
        )


class Retention:
    """Deletes expired rows, by the retention settings of the database.

    Args:
        queue: The queue.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def __call__(self) -> float:
        """Delete a batch, unless another worker just did; return the seconds until the next one is due."""
        return await self._queue.delete_expired()


class SpoolRetention:
    """Deletes pages that have waited on disk for too long.

    Args:
        spool: Where they wait.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def __call__(self) -> float:
        """Delete what has expired; return the seconds until it is due again."""
        await in_daemon_thread(self._spool.drop_old)
        return SPOOL_RETENTION_SECONDS


class Counting:
    """Counts the runs that have ended, for operators.

    Args:
        queue: The queue.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def __call__(self) -> float:
        """Count a batch, unless another worker just did; return the seconds until the next one is due."""
        return await self._queue.count_runs()


class CountingRequests:
    """Reports what this worker has sent through each exit.

    Args:
        queue: The queue.
        usage: What was sent.
    """

    def __init__(self, queue: Queue, usage: Usage) -> None:
        self._queue = queue
        self._usage = usage
        self._reporter = uuid4()

    async def __call__(self) -> float:
        """Report what was sent since the last report; return the seconds until the next one."""
        if sent := self._usage.take():
            try:
                await self._queue.count_requests(self._reporter, sent)
            except QueueError:
                self._usage.put_back(sent)
                raise
        return REPORT_SECONDS

    async def finish(self) -> None:
        """Report the rest when the worker ends, unless the database does not answer at once."""
        with suppress(QueueError, TimeoutError):
            async with asyncio.timeout(LAST_REPORT_SECONDS):
                await self()


class Embedding:
    """Embeds items whose text is new or changed.

    Args:
        queue: The queue.
        embedder: The model.
        on_saved: Called when embeddings were saved.
    """

    def __init__(self, queue: Queue, embedder: Embedder, on_saved: Callable[[], None]) -> None:
        self._queue = queue
        self._embedder = embedder
        self._on_saved = on_saved

    async def __call__(self) -> float:
        """Embed a batch of items. Items that the model refuses are retried later, up to a maximum."""
        claimed = await self._queue.claim_embeddings(self._embedder.name, self._embedder.batch)
        if claimed.items:
            await self._embed(claimed)
        return _pause_seconds(claimed.due_in_seconds)

    async def _embed(self, claimed: ClaimedItems) -> None:
        texts = [embedding_text(item) for item in claimed.items]
        try:
            async with asyncio.timeout(EMBED_SECONDS):
                answers = await self._embedder.embed(texts)
        except TimeoutError:
            raise ChoreError(
                f"{self._embedder.name} needs more than {EMBED_SECONDS} s for {len(texts)} texts"
            ) from None
        except EmbedderError as error:
            pause = error.retry_after_seconds
            retry_in_seconds = None if pause is None else min(pause, MAX_RETRY_PAUSE_SECONDS)
            raise ChoreError(str(error), retry_in_seconds=retry_in_seconds) from error
        embeddings: list[tuple[UUID, Vector]] = []
        refusals: dict[UUID, str] = {}
        for item, answer in zip(claimed.items, answers, strict=True):
            if isinstance(answer, TextRefusedError):
                refusals[item.id] = str(answer)
            else:
                embeddings.append((item.id, answer))
        if refusals:
            logger.warning(
                "%d of %d items cannot be embedded: %s", len(refusals), len(texts), next(iter(refusals.values()))
            )
            await self._queue.fail_embeddings(claimed.mark, refusals)
        for start in range(0, len(embeddings), SAVED_EMBEDDINGS):
            some = dict(embeddings[start : start + SAVED_EMBEDDINGS])
            saved = await self._queue.save_embeddings(self._embedder.name, claimed.mark, some)
            logger.info("%d items embedded by %s", saved, self._embedder.name)
            self._on_saved()


class NearDuplicateMerging:
    """Merges near-duplicates: items of one organization with similar embeddings, if their facts and texts agree.

    Args:
        queue: The queue.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._batch = NEAR_DUPLICATES_BATCH

    async def __call__(self) -> float:
        """Compare a batch of items with their candidates."""
        claimed = await self._claim()
        if claimed.pairs:
            same = await self._same(claimed)
            merged = await self._queue.finish_near_duplicates(claimed.mark, claimed.items, same)
            if same:
                logger.info("%d near-duplicates merged, of %d candidates", merged, len(claimed.pairs))
        return _pause_seconds(claimed.due_in_seconds)

    async def _claim(self) -> NearDuplicates:
        try:
            claimed = await self._queue.claim_near_duplicates(self._batch)
        except QueueError:
            # The items of a company with very many jobs may take longer than a statement may.
            self._batch = max(1, self._batch // 2)
            raise
        self._batch = min(2 * self._batch, NEAR_DUPLICATES_BATCH)
        return claimed

    async def _same(self, claimed: NearDuplicates) -> list[tuple[str, str]]:
        likely = await in_daemon_thread(partial(_likely, claimed))
        same: list[tuple[str, str]] = []
        for start in range(0, len(likely), COMPARED_TEXTS):
            pairs = likely[start : start + COMPARED_TEXTS]
            texts = await self._queue.near_duplicate_texts({item for pair in pairs for item in pair})
            same += await in_daemon_thread(partial(_with_one_text, pairs, texts))
        return same


def _likely(claimed: NearDuplicates) -> list[tuple[str, str]]:
    facts = {item_id: facts_of(item) for item_id, item in claimed.items.items()}
    return [(item, other) for item, other in claimed.pairs if may_be_duplicates(facts[item], facts[other])]


def _with_one_text(pairs: list[tuple[str, str]], texts: dict[str, str | None]) -> list[tuple[str, str]]:
    return [(item, other) for item, other in pairs if have_one_text(texts.get(item), texts.get(other))]


def _pause_seconds(due_in_seconds: float | None) -> float:
    return IDLE_SECONDS if due_in_seconds is None else min(due_in_seconds, IDLE_SECONDS)
