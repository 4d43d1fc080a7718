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

from rich.console import Console
from rich.table import Table

from scripts.bench.dedupe_listings import Listing, read_listings, undecidable_pairs
from scripts.bench.dedupe_merge import merge
from scripts.bench.dedupe_variants import ORIGINAL, Sighting, sightings

SAMPLES = 2
"""Misses and false merges shown for each kind."""

console = Console(highlight=False, soft_wrap=True)


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
    def precision(self) -> float:
        """Precision: share of the pairs in one group that are of one thing."""
        return 1 - sum(map(len, self.false.values())) / self.merged


def main() -> int:
    """Make the corpus, merge it and print the figures."""
    arguments = argparse.ArgumentParser(prog="scripts/bench/dedupe", description=__doc__)
    arguments.add_argument("data", type=Path, metavar="DATA.csv", help="listings with the columns of JobSpy")
    arguments.add_argument("--seed", type=int, default=1, help="random seed (default: 1)")
    options = arguments.parse_args()
    if find_spec("wordllama") is None:
        raise SystemExit("The model of the embeddings is not installed: ./scripts/setup dev")
    listings = read_listings(options.data)
    undecidable = undecidable_pairs(listings)
    console.print(f"{len(listings)} listings, seed {options.seed}; not counted, because the file does not say whether")
    console.print(f"they are one job: {len(undecidable)} pairs of listings of one title, place and text")
    by_id = {listing.id: listing for listing in listings}
    for pair in undecidable:
        console.print("  " + " = ".join(f"{by_id[one].title} ({by_id[one].company})" for one in sorted(pair)))
    halves = [
        sightings([listing for listing in listings if half_of(listing) == half], options.seed) for half in range(2)
    ]
    corpus = [sighting for half in halves for sighting in half]
    with tempfile.TemporaryDirectory(prefix="search-worker-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        merged = asyncio.run(merge(corpus, folder))
    console.print("\n[bold]All companies[/bold]")
    console.print(
        f"Pages fetched, transformed and saved within {merged.searched_seconds:.1f} s, all items embedded and compared "
        f"after {merged.seconds:.1f} s: {len(corpus) / merged.seconds:.0f} sightings a second"
    )
    summarize(corpus, compare(corpus, merged.groups, undecidable))
    own = len(halves[0])
    for title, half, groups in (
        ("on whose listings the thresholds were chosen", halves[0], merged.groups[:own]),
        ("of the other half", halves[1], merged.groups[own:]),
    ):
        console.print(f"\n[bold]Companies {title}[/bold]")
        report(half, compare(half, groups, undecidable))
    return 0


def half_of(listing: Listing) -> int:
    """Return 0 or 1: in which half of the companies a listing is."""
    return zlib.crc32((listing.company or listing.id).casefold().encode()) % 2


def summarize(corpus: Sequence[Sighting], figures: Figures) -> None:
    """Print precision and recall."""
    console.print(
        f"{len(corpus)} sightings of {len({sighting.thing for sighting in corpus})} things: "
        f"precision {figures.precision:.4f}, recall {figures.recall:.4f} "
        f"({figures.duplicates.total()} pairs of one thing, {figures.merged} merged)"
    )


def report(corpus: Sequence[Sighting], figures: Figures) -> None:
    """Print precision and recall of each kind, and the mistakes."""
    summarize(corpus, figures)
    nameless = sum(not pair[0].item.organization for pairs in figures.missed.values() for pair in pairs)
    console.print(
        f"of {sum(map(len, figures.missed.values()))} missed pairs {nameless} have no company: no title counts then"
    )
    table = Table("kind", "sightings", "found again with the listing", "merged with another thing")
    falsely_merged = {id(sighting) for pairs in figures.false.values() for pair in pairs for sighting in pair}
    for kind, count in Counter(sighting.kind for sighting in corpus).items():
        pair = _kinds(ORIGINAL, kind)
        found = figures.duplicates[pair] - len(figures.missed[pair])
        wrong = sum(id(sighting) in falsely_merged for sighting in corpus if sighting.kind == kind)
        is_same = kind != ORIGINAL and figures.duplicates[pair]
        table.add_row(kind, str(count), f"{found / figures.duplicates[pair]:.3f}" if is_same else "", str(wrong))
    console.print(table)
    show("missed", figures.missed)
    show("false", figures.false)


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


def show(what: str, pairs_by_kinds: dict[tuple[str, str], list[tuple[Sighting, Sighting]]]) -> None:
    """Print the pairs of kinds with the most mistakes, with samples."""
    for kinds, pairs in sorted(pairs_by_kinds.items(), key=lambda entry: -len(entry[1])):
        if pairs:
            console.print(f"{what} {len(pairs)}: {kinds[0]} / {kinds[1]}")
            for pair in pairs[:SAMPLES]:
                console.print("    " + "\n  = ".join(_line(sighting) for sighting in pair), markup=False)


def _line(sighting: Sighting) -> str:
    item = sighting.item
    return f"{item.title} | {item.organization} | {item.location} | {item.posted_at} | {item.apply_url}"


def _kinds(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)


def _pairs(groups: Iterable[Sequence[int]]) -> Iterable[tuple[int, int]]:
    for group in groups:
        yield from combinations(group, 2)


if __name__ == "__main__":
    sys.exit(main())
