"""The commands: `supabase-search-worker COMMAND` or `python -m worker COMMAND`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from worker.cli.log import prepare_last_resort
from worker.cli.weekly import times_of_day, weekdays
from worker.errors import SettingsError
from worker.model import WEBHOOK_EVENTS
from worker.printable import complain, printable_lines, say
from worker.settings import SearchSettings, Settings, forget_environment
from worker.version import DISTRIBUTION, __version__

if TYPE_CHECKING:
    from worker.engine.worker import Worker
    from worker.http import HttpSettings

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

REFUSALS = frozenset({"22023", "PT404", "PT429"})
"""Codes of the database for a request of a user that it refuses: wrong parameters, no such run, a quota."""

MIN_DRAIN_SECONDS = 10
"""Releasing running searches at the end takes up to 5 of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted."""
    options = _parser().parse_args(arguments)
    sys.excepthook = _tell_crash
    prepare_last_resort()
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except SettingsError as error:
        complain(str(error))
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it; Python must not write the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    return code


def _tell_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, without control characters."""
    complain("".join(traceback.format_exception(kind, error, trace)).rstrip())


class _Parser(argparse.ArgumentParser):
    """Accepts only full names of options: an abbreviation could become ambiguous in a later release."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments, allow_abbrev=False)

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(printable_lines(message), file)


def _parser() -> argparse.ArgumentParser:
    is_script = Path(sys.argv[0]).stem == DISTRIBUTION
    parser = _Parser(
        prog=DISTRIBUTION if is_script else "python -m worker", description="Long-running searches on Supabase."
    )
    parser.add_argument("--version", action="version", version=f"{DISTRIBUTION} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    run = commands.add_parser("run", help="search what is enqueued, until it is stopped")
    run.set_defaults(command=_work, work=lambda worker, _: worker.run())

    drain = commands.add_parser("drain", help="work until the queue is empty, then end")
    drain.add_argument(
        "--max-seconds",
        type=at_least(MIN_DRAIN_SECONDS),
        default=240,
        help=f"end after this time, {MIN_DRAIN_SECONDS} or more (default: 240)",
    )
    drain.set_defaults(command=_work, work=lambda worker, options: worker.drain(options.max_seconds))

    once = commands.add_parser("once", help="search the next run of the queue, then end")
    once.set_defaults(command=_work, work=lambda worker, _: worker.once())

    reprocess = commands.add_parser("reprocess", help="parse stored pages again, without a request to any site")
    reprocess.add_argument(
        "--since",
        type=_time,
        metavar="TIME",
        help="only pages fetched since then: a date such as 2026-11-22, or a time",
    )
    reprocess.add_argument("--source", help="only pages of this source, such as jobspy")
    reprocess.add_argument("--status", choices=("completed", "partial", "failed"), help="only pages with this result")
    reprocess.set_defaults(command=_reprocess)

    doctor = commands.add_parser("doctor", help="check everything that the worker needs, and say what to do")
    doctor.set_defaults(command=_doctor)

    stats = commands.add_parser("stats", help="show how the runs of all users ended, and how each site went")
    stats.add_argument(
        "--since",
        type=_since,
        default="24h",
        metavar="TIME",
        help="from then on: hours or days, such as 24h or 7d, or a date or time (default: %(default)s)",
    )
    stats.add_argument("--json", action="store_true", help="print JSON")
    stats.set_defaults(command=_stats)

    local = commands.add_parser("local", help="start Supabase on this machine, without Docker")
    local.add_argument("--port", type=int, default=54321, help="port of the API; 0 for any free one (default: 54321)")
    local.add_argument("--data", type=Path, help="folder that keeps the data (default: .local/supabase)")
    local.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    local.add_argument(
        "--postgres",
        type=Path,
        metavar="FOLDER",
        help="run the PostgreSQL (15 or newer) whose programs are in this folder, as `pg_config --bindir` prints it"
        " (default: the embedded one)",
    )
    local.add_argument("--no-migrate", action="store_true", help="leave the database empty")
    local.add_argument(
        "--no-sync", action="store_true", help="do not wait for the disk: faster, and a crash of the machine loses data"
    )
    local.set_defaults(command=_local)

    demo = commands.add_parser("demo", help="show everything on this machine: two users, four searches, one worker")
    demo.add_argument("--live", action="store_true", help="search the real sites instead of those on this machine")
    demo.set_defaults(command=_demo, program=parser.prog)

    migrations = commands.add_parser(
        "migrations",
        help="write the migrations that are missing in a folder",
        description="Write the migrations that are missing in the folder of a Supabase project. A file that is there "
        "is never changed: if one differs, nothing is written.",
    )
    migrations.add_argument(
        "--to",
        type=Path,
        default=Path("supabase", "migrations"),
        metavar="FOLDER",
        help="folder of the migrations, which is made if it is missing (default: supabase/migrations)",
    )
    migrations.set_defaults(command=_migrations)

    top = commands.add_parser("top", help="show live what the workers do; in a pipe once, as plain text")
    top.add_argument(
        "--interval", type=at_least(1), default=2, metavar="SECONDS", help="how often it is read (default: 2)"
    )
    top.set_defaults(command=_top)

    _add_source_commands(commands)
    _add_file_commands(commands)
    _add_user_commands(commands)
    _add_saved_search_commands(commands)
    _add_collection_commands(commands)
    _add_webhook_commands(commands)
    _add_alert_commands(commands)
    _add_exit_commands(commands)

    settings = commands.add_parser("settings", help="list every environment variable, its meaning and its default")
    settings.set_defaults(command=_settings)
    return parser


def _add_source_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    sources = commands.add_parser("sources", help="list the sites: credentials, limits, health")
    sources.add_argument("--json", action="store_true", help="print JSON")
    sources.set_defaults(command=_sources)

    rules = commands.add_parser("rules", help="print the SQL by which the database knows an added source")
    rules.add_argument("source", metavar="SOURCE", help="name of a source, as `sources` lists them")
    rules.set_defaults(command=_rules)

    trial = commands.add_parser("try", help="search one site without a database, and print what it finds")
    trial.add_argument("source", metavar="SOURCE", help="name of a source, as `sources` lists them")
    trial.add_argument("--site", help="the site to search; required if the source has several")
    _add_parameters(trial, "a parameter")
    trial.add_argument("--account", help="the account to search through, where the source needs one")
    trial.add_argument("--json", action="store_true", help="print a line of JSON for each item")
    trial.set_defaults(command=_try)


def _add_file_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    read = commands.add_parser(
        "read",
        help="print the items of a file, without a database",
        description="Print a line of JSON for each item of a file. The file has records or whole answers of a site, as "
        "JSON, JSON lines, or CSV as JobSpy writes it. Records that are invalid are reported on standard error.",
    )
    read.add_argument("source", metavar="SOURCE", help="name of a source, as `sources` lists them")
    read.add_argument("file", metavar="FILE", help="the file; - for standard input")
    _add_origin(read)
    read.add_argument("--table", action="store_true", help="print a table")
    read.set_defaults(command=_read)

    imported = commands.add_parser(
        "import",
        help="import a file as a finished run of a user",
        description="Import a file, as `read` reads it, as a finished run of a user. No site is asked. The same file "
        "is imported once.",
    )
    imported.add_argument("file", type=Path, metavar="FILE", help="the file")
    imported.add_argument("--user", required=True, help="id or e-mail address of the user")
    imported.add_argument(
        "--source", default="jobspy", help="name of a source, as `sources` lists them (default: jobspy)"
    )
    _add_origin(imported)
    imported.set_defaults(command=_import)


def _add_origin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--site",
        help="the site of the records (default: the only site of the source, or the one that a record names as `site`)",
    )
    parser.add_argument(
        "--board",
        help="the company board of the records (default: the one that the file or the addresses of its jobs name)",
    )


def _add_user_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    enqueue = commands.add_parser("enqueue", help="enqueue a search, as a user")
    _add_search(enqueue)
    enqueue.add_argument("--key", help="idempotency key: the same key never makes a second run")
    enqueue.add_argument("--fresh", action="store_true", help="search even if an equal search has just ended")
    enqueue.add_argument("--watch", action="store_true", help="follow it until it ends")
    enqueue.set_defaults(command=_enqueue)

    watch = commands.add_parser("watch", help="follow runs live until they end, as a user")
    watch.add_argument("run_ids", nargs="+", type=_run_id, metavar="RUN", help="id of a run")
    watch.set_defaults(command=_watch)

    cancel = commands.add_parser("cancel", help="end a run, as a user")
    cancel.add_argument("run_id", type=_run_id, metavar="RUN", help="id of a run")
    cancel.set_defaults(command=_cancel)

    rerun = commands.add_parser("rerun", help="enqueue the search of a run again, as a user")
    rerun.add_argument("run_id", type=_run_id, metavar="RUN", help="id of a run")
    rerun.add_argument("--watch", action="store_true", help="follow it until it ends")
    rerun.set_defaults(command=_rerun)

    runs = commands.add_parser("runs", help="list the last runs, as a user")
    runs.add_argument("--limit", type=at_least(1), default=10, help="how many at most (default: 10)")
    runs.set_defaults(command=_runs)


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("search_term", nargs="?", help="words to search for; required, except for kinds without one")
    parser.add_argument("--kind", default="jobs", help="what to search for, such as people or creators (default: jobs)")
    parser.add_argument("--location", help="place to search in")
    parser.add_argument("--sites", type=_words, metavar="SITE,...", help="sites to search, separated by commas")
    parser.add_argument(
        "--fallback-sites",
        type=_words,
        metavar="SITE,...",
        help="sites to search if one of the others fails for good, is paused or is out of quota",
    )
    parser.add_argument("--results", type=int, dest="results_wanted", help="results wanted from each site")
    _add_parameters(parser, "any other parameter")


def _add_saved_search_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    save = commands.add_parser("save", help="save a search under a name, as a user")
    save.add_argument("name", metavar="NAME", help="its name; a search of that name is replaced")
    _add_search(save)
    save.set_defaults(command=_save)

    searches = commands.add_parser("searches", help="list the saved searches, as a user")
    searches.set_defaults(command=_searches)

    schedule = commands.add_parser("schedule", help="repeat a saved search at times of day, as a user")
    schedule.add_argument("name", metavar="NAME", help="name of a saved search")
    schedule.add_argument("--at", type=times_of_day, required=True, metavar="TIME,...", help="such as 08:00,16:45")
    schedule.add_argument(
        "--days", type=weekdays, default=[*range(1, 8)], metavar="DAYS", help="such as mon-fri (default: every day)"
    )
    schedule.add_argument("--zone", default="UTC", help="time zone, such as Europe/London (default: UTC)")
    schedule.set_defaults(command=_schedule)

    unschedule = commands.add_parser("unschedule", help="stop to repeat a saved search, as a user")
    unschedule.add_argument("name", metavar="NAME", help="name of a saved search")
    unschedule.set_defaults(command=_unschedule)


def _add_collection_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    collections = commands.add_parser("collections", help="searches of the operator that are repeated")
    actions = collections.add_subparsers(metavar="ACTION", required=True, parser_class=_Parser)

    apply = actions.add_parser(
        "apply",
        help="make the collections of a namespace those of a file",
        description="Make the collections of a namespace those of a file. What is missing is added, what differs is "
        "changed, and what is not in the file any more is removed. A wrong file changes nothing.",
    )
    apply.add_argument("file", type=Path, metavar="FILE", help="the file, as TOML")
    apply.set_defaults(command=_apply_collections)

    listed = actions.add_parser("list", help="list the collections: next slot, last result, quotas")
    listed.set_defaults(command=_list_collections)


def _add_webhook_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    webhooks = commands.add_parser("webhooks", help="send events to other programs")
    actions = webhooks.add_subparsers(metavar="ACTION", required=True, parser_class=_Parser)

    add = actions.add_parser("add", help="add an endpoint, or change the one of that name and enable it")
    _add_endpoint(add)
    add.add_argument("url", metavar="URL", help="where the messages are sent, such as https://example.com/hooks")
    events = ", ".join(WEBHOOK_EVENTS)
    add.add_argument("--events", type=_words, metavar="EVENT,...", help=f"some of {events} (default: all)")
    add.add_argument("--description", help="a note for people")
    add.set_defaults(command=_webhooks, action=_add_webhook)

    listed = actions.add_parser("list", help="list the endpoints, or messages that could not be delivered")
    listed.add_argument("name", nargs="?", metavar="NAME", help="only this endpoint")
    listed.add_argument("--dead", action="store_true", help="list the messages whose attempts have all failed")
    listed.add_argument("--json", action="store_true", help="print a line of JSON for each")
    listed.set_defaults(command=_webhooks, action=_list_webhooks)

    remove = actions.add_parser("remove", help="remove an endpoint and its messages")
    _add_endpoint(remove)
    remove.set_defaults(command=_webhooks, action=_remove_webhook)

    rotate = actions.add_parser("rotate", help="make a second secret of an endpoint, to replace the first one")
    _add_endpoint(rotate)
    rotate.set_defaults(command=_webhooks, action=_rotate_webhook)

    replay = actions.add_parser("replay", help="send the messages of an endpoint again that could not be delivered")
    _add_endpoint(replay)
    replay.add_argument("--message", type=_message_id, metavar="ID", help="only this message, even if it was delivered")
    replay.set_defaults(command=_webhooks, action=_replay_webhooks)

    test = actions.add_parser("test", help="send a test message to an endpoint from here")
    _add_endpoint(test)
    test.set_defaults(command=_webhooks, action=_test_webhook)


def _add_alert_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    alerts = commands.add_parser("alerts", help="be notified when something goes wrong")
    actions = alerts.add_subparsers(metavar="ACTION", required=True, parser_class=_Parser)

    listed = actions.add_parser("list", help="list the open incidents and the rules")
    listed.add_argument("--json", action="store_true", help="print JSON")
    listed.set_defaults(command=_list_alerts)

    changed = actions.add_parser("set", help="change a rule")
    changed.add_argument("rule", metavar="RULE", help="name of a rule, as `alerts list` prints it")
    changed.add_argument(
        "--threshold",
        type=_number,
        metavar="NUMBER",
        help="the rule is broken from there: a share such as 0.2, or seconds, or a number",
    )
    changed.add_argument("--period", type=_number, metavar="SECONDS", help="the time that is measured")
    changed.add_argument(
        "--least-count",
        type=at_least(1),
        metavar="NUMBER",
        help="number of runs, pages or items from which a share counts",
    )
    state = changed.add_mutually_exclusive_group()
    state.add_argument("--enable", dest="is_enabled", action="store_true", default=None, help="check the rule")
    state.add_argument("--disable", dest="is_enabled", action="store_false", help="do not check the rule")
    changed.set_defaults(command=_set_alert)

    test = actions.add_parser("test", help="send a test message to each address from here")
    test.set_defaults(command=_test_alerts)


def _add_exit_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    exits = commands.add_parser("exits", help="show how the exits do at each site, or test those of this machine")
    exits.add_argument("--json", action="store_true", help="print JSON")
    exits.set_defaults(command=_exits)
    actions = exits.add_subparsers(metavar="ACTION", parser_class=_Parser)

    test = actions.add_parser("test", help="ask a site once through each exit of this machine")
    test.add_argument("--site", help="the site (default: for each exit the first one that it may be used for)")
    test.add_argument("--json", action="store_true", help="print JSON")
    test.set_defaults(command=_test_exits)


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the endpoint")


def _add_parameters(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument(
        "--param",
        action="append",
        type=_assignment,
        default=[],
        metavar="NAME=VALUE",
        help=f'{meaning}; text as it is, other values as JSON: \'ashby_boards=["acme", "initech"]\'',
    )


def _settings(_: argparse.Namespace) -> int:
    from worker.cli.settings import example

    say(example().rstrip())
    return 0


# Each command imports only what it needs: the worker starts without rich, and without the extra `local`.


def _worker() -> Worker:
    from worker.cli.log import configure_logging
    from worker.cli.settings import all_settings_classes, read_settings
    from worker.engine.worker import Worker

    classes = all_settings_classes()
    settings: Settings = read_settings(classes)[Settings]
    configure_logging(settings.log_format, settings.log_level)
    worker = Worker(settings)
    forget_environment(classes)
    return worker


def _work(options: argparse.Namespace) -> int:
    from worker.errors import QueueError

    worker = _worker()
    try:
        asyncio.run(options.work(worker, options))
    except QueueError as error:
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE
    return 0


def _reprocess(options: argparse.Namespace) -> int:
    from worker.errors import QueueError

    worker = _worker()
    try:
        done = asyncio.run(worker.reprocess(since=options.since, source=options.source, status=options.status))
    except ValueError as error:
        complain(str(error))
        return EXIT_USAGE
    except QueueError as error:
        complain(f"The queue cannot be used: {error}")
        return EXIT_FAILURE
    say(f"Pages: {done.pages}, failed: {done.failed}. Items: {done.items}, invalid: {done.invalid}")
    return 0


def _top(options: argparse.Namespace) -> int:
    from worker.cli.top import top

    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(top(Settings(), interval_seconds=options.interval))


def _sources(options: argparse.Namespace) -> int:
    from worker.cli.sources import sources

    # A line of its own says why the health is unknown; logs of libraries would interrupt the output.
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(sources(as_json=options.json))


def _exits(options: argparse.Namespace) -> int:
    from worker.cli import exits

    return _as_operator(lambda settings: exits.list_exits(settings, as_json=options.json))


def _test_exits(options: argparse.Namespace) -> int:
    from worker.cli import exits
    from worker.cli.settings import read_settings, search_settings_classes
    from worker.http import HttpSettings
    from worker.sources.registry import load_sources

    settings = read_settings(search_settings_classes())
    return asyncio.run(exits.test_exits(settings[HttpSettings], load_sources(), options.site, as_json=options.json))


def _rules(options: argparse.Namespace) -> int:
    from worker.cli.sources import rules

    return rules(options.source)


def _try(options: argparse.Namespace) -> int:
    from worker.cli.log import configure_logging
    from worker.cli.settings import all_settings_classes, read_settings, search_settings_classes
    from worker.cli.sources import try_source
    from worker.http import HttpSettings
    from worker.sources.registry import load_sources

    settings = read_settings(search_settings_classes())
    sources = load_sources()
    forget_environment(all_settings_classes())
    configure_logging("pretty", "WARNING")
    return asyncio.run(
        try_source(
            sources,
            options.source,
            options.site,
            dict(options.param),
            http_settings=settings[HttpSettings],
            timeout_seconds=settings[SearchSettings].site_timeout_seconds,
            account=options.account,
            as_json=options.json,
        )
    )


def _read(options: argparse.Namespace) -> int:
    from worker.cli.read import read
    from worker.sources.registry import load_sources

    rows: list[dict[str, Any]] | None = [] if options.table else None
    code = read(load_sources(), options.source, options.file, site=options.site, board=options.board, rows=rows)
    if rows:
        from worker.cli.terminal import items_table, open_console

        open_console().print(items_table(rows))
    return code


def _import(options: argparse.Namespace) -> int:
    from worker.cli.imports import import_as_run
    from worker.cli.log import configure_logging
    from worker.cli.settings import all_settings_classes, read_settings
    from worker.sources.registry import load_sources

    settings: Settings = read_settings(all_settings_classes())[Settings]
    configure_logging("pretty", "WARNING")
    return asyncio.run(
        import_as_run(
            settings,
            load_sources(),
            options.source,
            options.file,
            options.user,
            site=options.site,
            board=options.board,
        )
    )


def _doctor(_: argparse.Namespace) -> int:
    from worker.cli.doctor import doctor

    # Each check prints its own finding; logs of libraries would interrupt the output.
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(doctor())


def _stats(options: argparse.Namespace) -> int:
    from worker.cli.log import configure_logging
    from worker.cli.stats import stats

    configure_logging("pretty", "WARNING")
    return asyncio.run(stats(Settings(), options.since, as_json=options.json))


def _local(options: argparse.Namespace) -> int:
    from worker.local.supabase.command import run_local

    return run_local(
        port=options.port,
        data=options.data,
        as_json=options.json,
        migrate=not options.no_migrate,
        bin_folder=options.postgres,
        sync=not options.no_sync,
    )


def _demo(options: argparse.Namespace) -> int:
    try:
        from worker.cli.demo import run_demo
    except ModuleNotFoundError as error:
        complain(f"{error.name} is missing: pip install '{DISTRIBUTION}[local]'")
        return EXIT_FAILURE
    return run_demo(program=options.program, live=options.live)


def _migrations(options: argparse.Namespace) -> int:
    from worker.cli.migrations import write_migrations

    return write_migrations(options.to)


def _enqueue(options: argparse.Namespace) -> int:
    from worker.cli import users as user_commands

    parameters = _parameters(options)
    return _as_user(
        user_commands.enqueue(
            Settings(), options.kind, parameters, options.key, fresh=options.fresh, watch=options.watch
        )
    )


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    from worker.sources.parameters import from_text
    from worker.sources.registry import load_sources

    names = ("search_term", "location", "sites", "fallback_sites", "results_wanted")
    given = {name: getattr(options, name) for name in names}
    models = [source.parameters for source in load_sources() if source.kind == options.kind]
    parameters = {name: value for name, value in given.items() if value is not None}
    return parameters | from_text(models, dict(options.param))


def _save(options: argparse.Namespace) -> int:
    from worker.cli.saved_searches import save

    return _as_user(save(Settings(), options.name, options.kind, _parameters(options)))


def _searches(_: argparse.Namespace) -> int:
    from worker.cli.saved_searches import searches

    return _as_user(searches(Settings()))


def _schedule(options: argparse.Namespace) -> int:
    from worker.cli.saved_searches import schedule

    return _as_user(schedule(Settings(), options.name, options.at, options.days, options.zone))


def _unschedule(options: argparse.Namespace) -> int:
    from worker.cli.saved_searches import unschedule

    return _as_user(unschedule(Settings(), options.name))


def _apply_collections(options: argparse.Namespace) -> int:
    from worker.cli.collections import apply
    from worker.cli.log import configure_logging

    configure_logging("pretty", "WARNING")
    return asyncio.run(apply(Settings(), options.file))


def _list_collections(_: argparse.Namespace) -> int:
    from worker.cli.collections import list_collections
    from worker.cli.log import configure_logging

    configure_logging("pretty", "WARNING")
    return asyncio.run(list_collections(Settings()))


def _webhooks(options: argparse.Namespace) -> int:
    from worker.cli.log import configure_logging
    from worker.cli.settings import all_settings_classes, read_settings
    from worker.http import HttpSettings

    settings = read_settings(all_settings_classes())
    configure_logging("pretty", "WARNING")
    code: int = asyncio.run(options.action(options, settings[Settings], settings[HttpSettings]))
    return code


def _add_webhook(options: argparse.Namespace, settings: Settings, _: HttpSettings) -> Coroutine[Any, Any, int]:
    from worker.cli import webhooks

    return webhooks.add(settings, options.name, options.url, options.events or WEBHOOK_EVENTS, options.description)


def _list_webhooks(options: argparse.Namespace, settings: Settings, _: HttpSettings) -> Coroutine[Any, Any, int]:
    from worker.cli import webhooks

    if options.dead:
        return webhooks.list_dead(settings, options.name, as_json=options.json)
    return webhooks.list_endpoints(settings, options.name, as_json=options.json)


def _remove_webhook(options: argparse.Namespace, settings: Settings, _: HttpSettings) -> Coroutine[Any, Any, int]:
    from worker.cli import webhooks

    return webhooks.remove(settings, options.name)


def _rotate_webhook(options: argparse.Namespace, settings: Settings, _: HttpSettings) -> Coroutine[Any, Any, int]:
    from worker.cli import webhooks

    return webhooks.rotate(settings, options.name)


def _replay_webhooks(options: argparse.Namespace, settings: Settings, _: HttpSettings) -> Coroutine[Any, Any, int]:
    from worker.cli import webhooks

    return webhooks.replay(settings, options.name, options.message)


def _test_webhook(options: argparse.Namespace, settings: Settings, http: HttpSettings) -> Coroutine[Any, Any, int]:
    from worker.cli import webhooks

    return webhooks.test(settings, http, options.name)


def _list_alerts(options: argparse.Namespace) -> int:
    from worker.cli import alerts

    return _as_operator(lambda settings: alerts.list_alerts(settings, as_json=options.json))


def _set_alert(options: argparse.Namespace) -> int:
    from worker.cli import alerts

    return _as_operator(
        lambda settings: alerts.set_alert(
            settings,
            options.rule,
            threshold=options.threshold,
            period_seconds=options.period,
            least_count=options.least_count,
            is_enabled=options.is_enabled,
        )
    )


def _test_alerts(_: argparse.Namespace) -> int:
    from worker.cli import alerts

    return _as_operator(alerts.test)


def _as_operator(command: Callable[[Settings], Coroutine[Any, Any, int]]) -> int:
    from worker.cli.log import configure_logging

    settings = Settings()
    configure_logging("pretty", "WARNING")
    return asyncio.run(command(settings))


def _watch(options: argparse.Namespace) -> int:
    from worker.cli import users as user_commands

    return _as_user(user_commands.watch(Settings(), options.run_ids))


def _cancel(options: argparse.Namespace) -> int:
    from worker.cli import users as user_commands

    return _as_user(user_commands.cancel(Settings(), options.run_id))


def _rerun(options: argparse.Namespace) -> int:
    from worker.cli import users as user_commands

    return _as_user(user_commands.rerun(Settings(), options.run_id, watch=options.watch))


def _runs(options: argparse.Namespace) -> int:
    from worker.cli import users as user_commands

    return _as_user(user_commands.runs(Settings(), options.limit))


def _as_user(command: Coroutine[Any, Any, int]) -> int:
    """Run a command of a user. A refused request and an unusable project are reported in one line."""
    from httpx import HTTPError
    from postgrest.exceptions import APIError
    from supabase_auth.errors import AuthError

    try:
        return asyncio.run(command)
    except APIError as error:
        if error.code in REFUSALS:
            complain(f"Refused: {error.message}")
            return EXIT_USAGE
        reason = error.message
    except AuthError as error:
        reason = error.message
    except HTTPError as error:
        reason = str(error) or type(error).__name__
    complain(f"Supabase cannot be used: {reason}")
    return EXIT_FAILURE


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a parser of arguments that are whole numbers of at least `minimum`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, as a whole number")
        return number

    return parse


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError("must be a number")
    return number


def _run_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError("must be the id of a run, a UUID") from None


def _message_id(text: str) -> UUID:
    try:
        return UUID(text.removeprefix("msg_"))
    except ValueError:
        raise argparse.ArgumentTypeError("must be the id of a message, such as webhooks list --dead prints") from None


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date or a time, such as 2026-11-22 or 2026-11-22T10:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _since(text: str) -> datetime:
    if match := re.fullmatch(r"(\d{1,5})([hd])", text):
        number = int(match[1])
        return datetime.now(UTC) - (timedelta(hours=number) if match[2] == "h" else timedelta(days=number))
    try:
        return _time(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            "must be hours or days, such as 24h or 7d, or a date or time, such as 2026-11-22 or 2026-11-22T10:00Z"
        ) from None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _assignment(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value
