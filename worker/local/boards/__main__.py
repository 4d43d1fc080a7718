"""`python -m worker.local.boards`: plays the job boards and APIs until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from worker.local.boards.failures import Failure, FailurePlan
from worker.local.boards.server import Boards
from worker.local.boards.sites import SITES


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(arguments))
    except OSError as error:
        sys.exit(f"cannot start: {error}")


async def _run(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with Boards(
        port=arguments.port,
        seed=arguments.seed,
        failures=dict(arguments.fail),
        latency_ms=arguments.latency_ms,
        ca_cert=arguments.ca_cert,
    ) as boards:
        facts = {
            "proxy_url": boards.proxy_url,
            "ca_cert": str(boards.ca_cert),
            "control_url": boards.control_url,
        }
        text = (
            json.dumps({**facts, "credentials": {**boards.credentials}})
            if arguments.json
            else "\n".join(f"{name:20}{value}" for name, value in {**facts, **boards.credentials}.items())
        )
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        await stopped.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.local.boards",
        description="Play job boards and APIs on loopback: a proxy for WORKER_EXITS.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--ca-cert", type=Path, metavar="FILE", help="file for the CA certificate (default: a temporary file)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the listings (default: 1)")
    parser.add_argument(
        "--fail",
        type=_site_failure,
        action="append",
        default=[],
        metavar="SITE=FAILURE[:FROM_PAGE]",
        help=f"let a site fail; repeatable. Sites: {', '.join(SITES)}. Failures: {', '.join(Failure)}",
    )
    parser.add_argument("--latency-ms", type=_latency, default=0, help="delay of every answer (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the addresses as one line of JSON")
    return parser


def _site_failure(text: str) -> tuple[str, FailurePlan]:
    site, _, rest = text.partition("=")
    failure, _, from_page = rest.partition(":")
    if site not in SITES:
        raise argparse.ArgumentTypeError(f"site {site!r} is not one of {', '.join(SITES)}")
    if failure not in list(Failure):
        raise argparse.ArgumentTypeError(f"failure {failure!r} is not one of {', '.join(Failure)}")
    try:
        return site, FailurePlan(failure=Failure(failure), from_page=int(from_page or 1))
    except (ValidationError, ValueError):
        raise argparse.ArgumentTypeError(f"from_page {from_page!r} is not a page number from 1") from None


def _latency(text: str) -> int:
    milliseconds = int(text)
    if milliseconds < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return milliseconds


if __name__ == "__main__":
    main()
