"""Measures precision and recall of deduplication, on labelled duplicates made from a CSV of real listings."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

from scripts.bench.dedupe_listings import Listing, read_listings, undecidable_pairs
from scripts.bench.dedupe_merge import Merged, merge
from scripts.bench.dedupe_variants import ORIGINAL, Sighting, sightings
from scripts.bench.report import Column, Report, add_json_argument, reporting

SAMPLES = 2
"""Misses and false merges shown for each kind."""

RUNS_AT_ONCE = 4
"""Runs that divide the sites among them. One run alone saves a page while nothing is fetched or read."""


@dataclass
class Figures:
    """Counts of pairs of sightings.

    Attributes:
        duplicates: Pairs of sightings of one thing, by their two kinds.
        missed: Of these, the pairs in two groups.
        merged: Pairs in one group.
        false: Of these, the pairs of two things, by their two kinds.
    """

    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: dict[tuple[str, str], list[tuple[Sighting, Sighting]]] = field(default_factory=lambda: defaultdict(list))
    merged: int = 0
    false: dict[tuple[str, str], list[tuple[Sighting, Sighting]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def recall(self) -> float:
        """Recall: share of the pairs of one thing that are in one group."""
        return 1 - sum(map(len, self.missed.values())) / self.duplicates.total()

    @property
    def missed_and_nameless(self) -> tuple[int, int]:
        """How many pairs were missed, and how many of them have no company: no title counts then."""
        missed = [pair for pairs in self.missed.values() for pair in pairs]
        return len(missed), sum(not one.item.organization for one, _ in missed)

    @property
    def precision(self) -> float:
        """Precision: share of the pairs in one group that are of one thing."""
        return 1 - sum(map(len, self.false.values())) / self.merged


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench/dedupe", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA.csv", help="listings with the columns of JobSpy")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: 1)")
    add_json_argument(parser)
    options = parser.parse_args()
    if find_spec("wordllama") is None:
        raise SystemExit("The model of the embeddings is not installed: ./scripts/setup dev")
    with reporting(options.json) as report:
        measure(options.data, options.seed, report)
    return 0


def measure(data: Path, seed: int, report: Report) -> None:
    """Make the corpus, merge it and report the figures."""
    listings = read_listings(data)
    undecidable = undecidable_pairs(listings)
    report.condition(
        f"{len(listings)} listings, seed {seed}. "
        "The thresholds were chosen on the listings of the first half of the companies."
    )
    by_id = {listing.id: listing for listing in listings}
    report.table(
        "Pairs of one title, place and text, not counted: the file does not say whether they are one job",
        [Column("listing"), Column("other listing")],
        [tuple(f"{by_id[one].title} ({by_id[one].company})" for one in sorted(pair)) for pair in undecidable],
        is_published=False,  # it quotes listings of others
    )
    halves = [sightings([listing for listing in listings if half_of(listing) == half], seed) for half in range(2)]
    corpus = [sighting for half in halves for sighting in half]
    merged = _merged(corpus)
    at_once = _merged(corpus, runs=RUNS_AT_ONCE)
    report.table(
        f"Time to save and to compare {len(corpus):,} sightings, with one worker",
        [
            Column("runs at once"), Column("pages saved", "s", 1), Column("a second"),
            Column("all compared", "s", 1), Column("a second, compared"),
        ],
        [
            (runs, times.searched_seconds, len(corpus) / times.searched_seconds, times.seconds,
             len(corpus) / times.seconds)
            for runs, times in ((1, merged), (RUNS_AT_ONCE, at_once))
        ],
    )  # fmt: skip
    own = len(halves[0])
    parts = {
        "all": (corpus, merged.groups),
        "first half": (halves[0], merged.groups[:own]),
        "other half": (halves[1], merged.groups[own:]),
    }
    figures = {name: compare(part, groups, undecidable) for name, (part, groups) in parts.items()}
    report.table(
        "Precision and recall",
        [
            Column("companies"), Column("sightings"), Column("things"), Column("precision", digits=4),
            Column("recall", digits=4), Column("pairs of one thing"), Column("pairs merged"), Column("missed"),
            Column("missed without a company"),
        ],
        [
            (
                name, len(parts[name][0]), len({sighting.thing for sighting in parts[name][0]}), counts.precision,
                counts.recall, counts.duplicates.total(), counts.merged, *counts.missed_and_nameless,
            )
            for name, counts in figures.items()
        ],
    )  # fmt: skip
    for name in list(parts)[1:]:
        report_kinds(name, parts[name][0], figures[name], report)


def _merged(corpus: Sequence[Sighting], *, runs: int = 1) -> Merged:
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        return asyncio.run(merge(corpus, folder, runs=runs))


def half_of(listing: Listing) -> int:
    """Return 0 or 1: in which half of the companies a listing is."""
    return zlib.crc32((listing.company or listing.id).casefold().encode()) % 2


def report_kinds(name: str, corpus: Sequence[Sighting], figures: Figures, report: Report) -> None:
    """Report how sightings of each kind were merged, and the mistakes."""
    falsely_merged = {id(sighting) for pairs in figures.false.values() for pair in pairs for sighting in pair}
    rows = []
    for kind, count in Counter(sighting.kind for sighting in corpus).items():
        pair = _kinds(ORIGINAL, kind)
        found = figures.duplicates[pair] - len(figures.missed[pair])
        wrong = sum(id(sighting) in falsely_merged for sighting in corpus if sighting.kind == kind)
        is_same = kind != ORIGINAL and figures.duplicates[pair]
        rows.append((kind, count, found / figures.duplicates[pair] if is_same else None, wrong))
    report.table(
        f"Kinds of sightings, companies: {name}",
        [
            Column("kind"), Column("sightings"), Column("found again with the listing", digits=3),
            Column("merged with another thing"),
        ],
        rows,
    )  # fmt: skip
    mistakes = [
        (mistake, f"{kinds[0]} / {kinds[1]}", pairs)
        for mistake, pairs_by_kinds in (("missed", figures.missed), ("falsely merged", figures.false))
        for kinds, pairs in sorted(pairs_by_kinds.items(), key=lambda entry: -len(entry[1]))
    ]
    report.table(
        f"Mistakes, companies: {name}",
        [Column("kinds"), Column("mistake"), Column("pairs")],
        [(kinds, mistake, len(pairs)) for mistake, kinds, pairs in mistakes],
        is_published=False,  # a hundred rows
    )
    report.table(
        f"Up to {SAMPLES} samples of each mistake, companies: {name}",
        [Column("pair")],
        [(f"{mistake}, {kinds}{_shown(*pair)}",) for mistake, kinds, pairs in mistakes for pair in pairs[:SAMPLES]],
        is_published=False,  # it quotes listings of others
    )


def compare(corpus: Sequence[Sighting], groups: Sequence[str], undecidable: set[frozenset[str]]) -> Figures:
    """Count pairs.

    Args:
        corpus: Labelled sightings.
        groups: The group of each sighting.
        undecidable: Pairs of listings. Pairs of their sightings are not counted.
    """
    figures = Figures()
    by_thing, by_group = defaultdict(list), defaultdict(list)
    for index, (sighting, group) in enumerate(zip(corpus, groups, strict=True)):
        by_thing[sighting.thing].append(index)
        by_group[group].append(index)
    for a, b in _pairs(by_thing.values()):
        kinds = _kinds(corpus[a].kind, corpus[b].kind)
        figures.duplicates[kinds] += 1
        if groups[a] != groups[b]:
            figures.missed[kinds].append((corpus[a], corpus[b]))
    for a, b in _pairs(by_group.values()):
        if frozenset((corpus[a].listing, corpus[b].listing)) in undecidable:
            continue
        figures.merged += 1
        if corpus[a].thing != corpus[b].thing:
            figures.false[_kinds(corpus[a].kind, corpus[b].kind)].append((corpus[a], corpus[b]))
    return figures


def _shown(*pair: Sighting) -> str:
    return "".join(
        f"\n  {item.title} | {item.organization} | {item.location} | {item.posted_at} | {item.apply_url}"
        for item in (sighting.item for sighting in pair)
    )


def _kinds(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)


def _pairs(groups: Iterable[Sequence[int]]) -> Iterable[tuple[int, int]]:
    for group in groups:
        yield from combinations(group, 2)


if __name__ == "__main__":
    sys.exit(main())
