"""Logging: JSON lines for machines, or pretty text for people."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from worker.printable import printable_json, printable_lines

_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whatever was passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _RECORD_ATTRIBUTES},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return printable_json(fields)


class PrettyFormatter(logging.Formatter):
    """Text for people. What a message has below its first line is further to the right: no line of it looks logged."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines."""
        first, *others = printable_lines(super().format(record)).split("\n")
        return "\n".join([first, *(line if line.startswith(" ") else f"  {line}" for line in others)])


def prepare_last_resort() -> None:
    """Have what is logged before, or without, `configure_logging` print as little as what is logged after."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PrettyFormatter("%(message)s"))


def configure_logging(log_format: Literal["auto", "json", "pretty"], level: str) -> None:
    """Send all logs to standard error.

    Args:
        log_format: `auto` is pretty on a terminal and JSON elsewhere.
        level: Least level that is logged.
    """
    if log_format == "auto":
        log_format = "pretty" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(PrettyFormatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # A line for each request would drown the rest, and httpx logs addresses with their query, which may hold a key.
    for noisy in ("httpx", "httpcore", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It calls a failure permanent that `worker.database.changes` reports and recovers from.
    logging.getLogger("realtime").setLevel(logging.CRITICAL)
