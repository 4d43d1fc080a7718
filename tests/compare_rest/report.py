"""The report of a comparison."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.compare_rest.records import Record
from tests.compare_rest.replay import Comparison, Difference

_EXAMPLES = 3
_ANSWERS = {True: "the real server answers", False: "the real server refuses, too", None: "not sent to the real server"}


def lines(comparison: Comparison) -> Iterator[str]:
    """Yield the report, line by line."""
    yield f"{comparison.requests} requests, {comparison.succeeded} of them with success"
    for why, count in sorted(comparison.left_out.items()):
        yield f"{count} left out: {why}"
    yield from _refused(comparison)
    kinds: dict[str, list[Difference]] = defaultdict(list)
    for difference in comparison.differences:
        kinds[difference.kind].append(difference)
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        yield ""
        yield f"{len(found)} x {kind}"
        for difference in found[:_EXAMPLES]:
            yield f"    {described(difference.record)}"
            yield f"        local: {difference.local}"
            yield f"        real:  {difference.real}"
    yield ""
    yield f"{len(comparison.differences)} differences" if comparison.differences else "no difference"


def described(record: Record) -> str:
    """Return a request in one line."""
    asker = record.role or ("a token" if record.claims is not None else record.authorization) or "nobody"
    headers = " ".join(f"{name}={value}" for name, value in sorted(record.headers.items()))
    body = f" {record.body[:100]}" if record.body else ""
    return f"{record.method} {record.path} [{asker}] {headers}{body}".rstrip()


def _refused(comparison: Comparison) -> Iterator[str]:
    if not comparison.refused:
        return
    yield ""
    yield f"{len(comparison.refused)} refused by the local stack"
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for _, message, answers in comparison.refused:
        counts[message, _ANSWERS[answers]] += 1
    for (message, how), count in sorted(counts.items()):
        yield f"    {count} x {message} ({how})"
