"""Builds the frontend in `examples/nextjs`, and serves it on loopback: for the demo and for the tests in a browser.

`python -m tools.frontend` builds it, and fails if the build warns.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "examples" / "nextjs"

# What the build has said, written when it has succeeded.
_BUILT = FOLDER / ".next" / "build.log"
_INSTALLED = FOLDER / "node_modules" / ".package-lock.json"
_MADE = frozenset({".next", "node_modules", "next-env.d.ts"})
_STOP_SECONDS = 20


class FrontendError(Exception):
    """The frontend cannot be built, or does not start."""


def require_npm() -> None:
    """Check that npm is there.

    Raises:
        FrontendError: It is not.
    """
    if shutil.which("npm") is None:
        raise FrontendError("The frontend needs npm and Node.js 22 or newer, and npm was not found.")


def build(log: Path) -> None:
    """Install the packages of the lock file and build the frontend, each only if something has changed since.

    Args:
        log: File to which the output is appended.

    Raises:
        FrontendError: npm is missing, or a step fails. The message ends with the output of the step.
    """
    require_npm()
    lock = FOLDER / "package-lock.json"
    if not _is_newer(_INSTALLED, [lock]):
        _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], log)
    if not _is_newer(_BUILT, _sources()):
        _BUILT.write_text(_run(["npm", "run", "build"], log))


def build_without_warnings(log: Path) -> None:
    """Build the frontend; see `build`.

    Raises:
        FrontendError: It cannot be built, or the build warns.
    """
    build(log)
    if _warnings():
        # An older Node.js may have built it.
        _BUILT.unlink()
        build(log)
    if found := _warnings():
        raise FrontendError("\n".join(["The build of the frontend warns:", *found]))


def _warnings() -> list[str]:
    return [line for line in _BUILT.read_text().splitlines() if re.search(r"⚠|\bwarn", line, re.IGNORECASE)]


@contextmanager
def served(supabase_url: str, anon_key: str, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve the build on a free port of 127.0.0.1, and yield its address.

    Args:
        supabase_url: Address of Supabase, for the server and for browsers.
        anon_key: The key of users.
        log: File to which the output is appended.
        environment: Further environment variables of the server.

    Raises:
        FrontendError: It does not start.
    """
    command = ["node", "node_modules/next/dist/bin/next", "start", "--hostname", "127.0.0.1", "--port", "0"]
    variables = {"SUPABASE_URL": supabase_url, "SUPABASE_ANON_KEY": anon_key, **(environment or {})}
    with (
        log.open("a") as output,
        subprocess.Popen(
            command,
            cwd=FOLDER,
            env=_environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            # Ctrl-C in the terminal reaches only the caller, which then stops its child processes in order.
            start_new_session=True,
        ) as server,
    ):
        try:
            address = _address(server)
            # A full pipe would stop the server.
            threading.Thread(target=shutil.copyfileobj, args=(server.stdout, output), daemon=True).start()
            yield address
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def _address(server: subprocess.Popen[str]) -> str:
    """Wait until the server says that it is ready; return the address that it says before."""
    assert server.stdout is not None
    address = None
    said = []
    for line in server.stdout:
        said.append(line)
        if found := re.search(r"Local:\s+(http://\S+)", line):
            address = found[1]
        if address and "Ready" in line:
            return address
    raise FrontendError(f"The frontend did not start:\n{''.join(said)}")


def _run(command: Sequence[str], log: Path) -> str:
    ended = subprocess.run(
        command,
        cwd=FOLDER,
        env=_environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    with log.open("a") as file:
        file.write(ended.stdout)
    if ended.returncode:
        raise FrontendError(f"`{' '.join(command)}` failed in {FOLDER}:\n{ended.stdout[-3000:]}")
    return ended.stdout


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", **variables}


def _sources() -> Iterator[Path]:
    for path in FOLDER.iterdir():
        if path.name in _MADE or path.suffix == ".tsbuildinfo":
            continue
        yield from (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _is_newer(made: Path, sources: Sequence[Path] | Iterator[Path]) -> bool:
    """Return whether `made` exists and is at least as new as all its sources."""
    return made.exists() and all(made.stat().st_mtime >= source.stat().st_mtime for source in sources)


if __name__ == "__main__":
    try:
        build_without_warnings(Path(os.devnull))
    except FrontendError as error:
        sys.exit(str(error))
