"""What the commands show on a terminal: live progress, a run's end, tables of runs and of things found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from worker.cli.weekly import days_in_words
from worker.database.user import FollowedRun, Row
from worker.printable import one_line, printable, printable_lines

STATUS_STYLES = {
    "pending": "dim",
    "running": "cyan",
    "success": "green",
    "completed": "green",
    "partial": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "skipped": "dim",
}
MARKS = {"pending": "·", "running": "…", "completed": "✓", "partial": "~", "failed": "✗", "skipped": "-"}
PER = {"yearly": "/year", "monthly": "/month", "weekly": "/week", "daily": "/day", "hourly": "/hour"}
TITLE_WIDTH = 18
BAR_WIDTH = 20
COUNT_WIDTH = 5
UUID_WIDTH = 36

# As `worker.time_for_user` writes it: of today without the day.
_TIME_IN_WORDS = re.compile(r"(?:(\d{4}-\d\d-\d\d) )?(\d\d:\d\d) UTC")


class _Console(Console):
    """Prints no character that a site or a user might have put there for a terminal to obey."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render, with rich's own codes alone."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)


def open_console(*, stderr: bool = False) -> Console:
    """Return what the commands print tables and progress with."""
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def cell(value: object, style: str = "") -> Text:
    """Return what a table shows of a value: one line of text, and no markup."""
    return Text(printable(str(value)), style=style)


def live_view(runs: Iterable[tuple[str, FollowedRun]]) -> RenderableType:
    """Return bars for each run and its sites.

    Args:
        runs: Pairs of a title and a run.
    """
    return Group(*(_run_view(title, followed) for title, followed in runs))


def title_of(run: Row) -> str:
    """Return what a run searches for; a kind of search need not have a search term."""
    kind, term = run["kind"], run["parameters"].get("search_term")
    if term is None:
        return str(kind)
    return str(term) if kind == "jobs" else f"{kind}: {term}"


def _run_view(title: str, followed: FollowedRun) -> RenderableType:
    run = followed.run
    wanted = (run["progress_total"] or 0) // max(1, sum(not site["is_fallback"] for site in followed.sites.values()))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=TITLE_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(width=BAR_WIDTH)
    table.add_column(width=COUNT_WIDTH, justify="right")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_row(
        cell(title, "bold"),
        ProgressBar(total=run["progress_total"] or 0, completed=run["progress_current"], width=BAR_WIDTH),
        cell(run["jobs_found"]),
        status_text(run["status"], _next_attempt(run) or _sharing(run)),
    )
    for site in followed.sites.values():
        table.add_row(
            _marked(site),
            _site_bar(site, wanted),
            cell(site["jobs_found"]),
            _site_text(site),
        )
    return table


def _site_text(site: Row) -> Text:
    """Return how a site is: what it waits for, why it failed, or what is done there now."""
    progress = site["progress"]
    if progress.get("step") == "waiting":
        wait = progress["details"]
        return cell(f"again at {local_time(wait['until'])}: {in_local_time(wait['message'])}", "yellow")
    if site["status"] != "running":
        return status_text(site["status"], in_local_time(site["error_message"] or ""))
    step = progress_in_words(
        progress.get("step", ""), progress.get("current"), progress.get("total"), progress.get("details") or {}
    )
    return status_text(site["status"], step)


def progress_in_words(step: str, current: int | None, total: int | None, details: Mapping[str, Any]) -> str:
    """Return how far a search is, such as `searching 1 of 3, board acme`."""
    count = "" if current is None else f" {current:,}" + ("" if total is None else f" of {total:,}")
    return one_line(f"{step}{count}{''.join(f', {name} {value}' for name, value in details.items())}")


def in_local_time(message: str) -> str:
    """Return a message of the database with its times as a clock here shows them."""
    return _TIME_IN_WORDS.sub(_in_local_time, message)


def _in_local_time(match: re.Match[str]) -> str:
    try:
        time = datetime.fromisoformat(f"{match[1] or datetime.now(UTC).date()} {match[2]}+00:00").astimezone()
    except ValueError:
        return match[0]  # in the words of a site or a user
    return f"{time:%H:%M}" if _is_today(time) else f"{time:%m-%d %H:%M}"


def _is_today(time: datetime) -> bool:
    return time.date() == datetime.now(time.tzinfo).date()


def local_time(text: str) -> str:
    """Return a time as a clock here shows it: of today without the day."""
    time = datetime.fromisoformat(text).astimezone()
    return f"{time:%H:%M:%S}" if _is_today(time) else f"{time:%m-%d %H:%M}"


def _site_bar(site: Row, wanted: int) -> ProgressBar:
    total, current = site["progress"].get("total"), site["progress"].get("current")
    if total is None or current is None:
        total, current = wanted, site["jobs_found"]
    return ProgressBar(total=total, completed=total if site["status"] == "completed" else current, width=BAR_WIDTH)


def _next_attempt(run: Row) -> str | None:
    return None if run["run_after"] is None else f"again at {local_time(run['run_after'])}"


def _sharing(run: Row) -> str | None:
    return "shared search" if run["leader_run_id"] or run["shared_run_id"] else None


def status_text(status: str, reason: str | None = None) -> Text:
    """Return a status in its colour, with the reason if there is one."""
    text = cell(status, STATUS_STYLES.get(status, ""))
    return text.append(f"  {printable(reason)}", style="dim") if reason else text


def _marked(site: Row) -> Text:
    """Return a site with the mark of its status, further to the right than its run."""
    kind = " (fallback)" if site["is_fallback"] else ""
    return Text.assemble("  ", cell(f"{MARKS.get(site['status'], '?')} {site['site']}"), (kind, "dim"))


def run_summary(followed: FollowedRun) -> RenderableType:
    """Return how a run ended: each site with its mark, status and count or reason, and the totals."""
    sites = followed.sites.values()
    table = Table.grid(padding=(0, 2))
    for site in sites:
        table.add_row(
            _marked(site),
            status_text(site["status"]),
            cell(f"{site['jobs_found']} found"),
            cell(in_local_time(site["error_message"] or ""), "dim"),
        )
    completed = sum(site["status"] == "completed" for site in sites)
    failed = sum(site["status"] == "failed" for site in sites)
    totals = (
        f"  Sites completed: {completed} of {len(sites)}, failed: {failed}. Total found: {followed.run['jobs_found']}"
    )
    status = status_text(followed.run["status"], _sharing(followed.run))
    title = Text.assemble("Run ", cell(followed.run["id"]), ": ", status)
    return (
        Group(title, table, Text(totals))
        if sites
        else Group(title, Text(f"  Total found: {followed.run['jobs_found']}"))
    )


def runs_table(runs: Sequence[Row]) -> Table:
    """Return a table of runs, a line each where the terminal is wide enough."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name, width in (("Run", UUID_WIDTH), ("Added", 5), ("Status", 9), ("Found", 5)):
        table.add_column(name, no_wrap=True, min_width=width, justify="right" if name == "Found" else "left")
    table.add_column("Search and sites")  # what does not fit continues below
    for run in runs:
        search = ", ".join(filter(None, (title_of(run), run["parameters"].get("location"))))
        sites = " ".join(f"{MARKS.get(site['status'], '?')}{site['site']}" for site in run["run_sites"])
        table.add_row(
            cell(run["id"]),
            local_time(run["created_at"])[:5],
            status_text(run["status"]),
            cell(run["jobs_found"]),
            Text.assemble(cell(search), "  ", cell(sites, "dim")),
        )
    return table


def saved_searches_table(searches: Sequence[Row]) -> Table:
    """Return a table of saved searches, a line each.

    Args:
        searches: Rows of `saved_search_states`.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("Name", "Repeated", "Next", "Last", "Found", "New"):
        table.add_column(name, no_wrap=name != "Repeated", justify="right" if name in ("Found", "New") else "left")
    for saved in searches:
        next_slot = local_time(saved["next_slot_at"]) if saved["next_slot_at"] else ""
        table.add_row(
            cell(saved["name"]),
            cell(_repeated(saved)),
            cell(f"paused: {saved['paused']}" if saved["paused"] else next_slot),
            status_text(saved["last_status"]) if saved["last_status"] else cell(""),
            cell(saved["last_items_found"] if saved["last_status"] else ""),
            cell(saved["new_items"]),
        )
    return table


def _repeated(saved: Row) -> str:
    if saved["times"] is None:
        return ""
    times = ",".join(time[:5] for time in saved["times"])
    return f"{times} {days_in_words(saved['weekdays'])} {saved['time_zone']}"


def collections_table(collections: Sequence[Row], health: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table of collections, a line each.

    Args:
        collections: Collections of `worker_collections`.
        health: Sites of `worker_site_health`, by name.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("Collection", "Searches", "Next", "Last", "Found", "New", "Quotas"):
        is_number = name in ("Searches", "Found", "New")
        table.add_column(name, no_wrap=name != "Quotas", justify="right" if is_number else "left")
    for known in collections:
        quotas = [
            f"{site} {words}" for site in known["sites"] if site in health for words in quotas_in_words(health[site])
        ]
        table.add_row(
            cell(known["collection"]),
            cell(f"{known['searches']:,}"),
            cell(_next_slot(known)),
            cell(_last_results(known)),
            cell(f"{known['items_found']:,}"),
            cell(f"{known['new_items']:,}"),
            cell(", ".join(quotas)),
        )
    return table


def _next_slot(collection: Row) -> str:
    paused = f"{collection['paused']:,} paused" if collection["paused"] else ""
    next_slot = local_time(collection["next_slot_at"]) if collection["next_slot_at"] else ""
    return ", ".join(filter(None, (next_slot, paused)))


def _last_results(collection: Row) -> str:
    counts = [
        f"{collection[name]:,} {name}" for name in ("succeeded", "partial", "failed", "active") if collection[name]
    ]
    ended = f" {local_time(collection['last_completed_at'])}" if collection["last_completed_at"] else ""
    return f"{', '.join(counts)}{ended}".strip()


def quotas_in_words(health: Mapping[str, Any]) -> list[str]:
    """Return how much of each quota of a site is used, such as `12 of 200 used`.

    Args:
        health: A site of `worker_site_health`.
    """
    quotas = []
    for bucket in health["buckets"]:
        if bucket["quota"] is not None:
            name = bucket["bucket"].partition(":")[2]
            quotas.append(f"{name + ': ' if name else ''}{bucket['quota_used'] or 0:,} of {bucket['quota']:,} used")
    return quotas


def items_table(items: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of things found, of any kind, a line each; without the columns that none of them fills.

    Args:
        items: Rows of `run_items`, with their sites; or the fields of an `Item`, which is identified by its address.
    """
    columns = {
        ("Title", 7): [item["title"] for item in items],
        ("Organization", 5): [item["organization"] or "" for item in items],
        ("Location", 5): ["remote" if item["is_remote"] else item["location"] or "" for item in items],
        ("Pay", 7): [pay(item) for item in items],
        ("Score", None): [_figure(item, "score") for item in items],
        ("Subscribers", None): [_figure(item, "subscribers") for item in items],
        ("Posted", None): [(item["posted_at"] or "")[5:10] for item in items],
        ("Sites", None): [_sites(item) if "sites" in item else "" for item in items],
        ("Address", 9): ["" if "sites" in item else item["url"] for item in items],
    }
    filled = {column: values for column, values in columns.items() if any(values)}
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    for name, ratio in filled:
        table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
    for row in zip(*filled.values(), strict=True):
        table.add_row(*(cell(one_line(value)) for value in row))
    return table


def _figure(item: Mapping[str, Any], name: str) -> str:
    figure = item["data"].get(name)
    return f"{figure:,}" if isinstance(figure, int) else ""


def _sites(item: Mapping[str, Any]) -> str:
    first, *others = dict.fromkeys(seen["site"] for seen in item["sites"])
    return f"{first} +{len(others)}" if others else first


def pay(item: Mapping[str, Any]) -> str:
    """Return an item's pay in words, such as `90,000-120,000 USD/year`; empty if it has none."""
    amounts = [f"{amount:,.0f}" for amount in (item["salary_min"], item["salary_max"]) if amount is not None]
    if not amounts:
        return ""
    return f"{'-'.join(dict.fromkeys(amounts))} {item['currency'] or ''}{PER.get(item['salary_interval'], '')}"
