"""Keeps the parent's secrets from its child processes, even if a hostile site takes control of one.

The parent protects its memory: only root can read its memory and its environment. The forkserver, and with it each
child, is confined: if the parent is root, it becomes another user; it has no capabilities, runs no programs, reads only
the files that Python and TLS need, and reaches no other process. Both need Linux; `confine` returns what is missing.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.processes import landlock

IS_LINUX = sys.platform == "linux"

_NOBODY = 65534
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPABILITY_VERSION_3 = 0x20080522

# Files of the C library, TLS and time zones. Not all of /etc or /run: platforms mount secrets there.
_SYSTEM_PATHS = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/nix/store", "/proc", "/sys", "/dev/urandom", "/dev/random",
    *(
        f"/etc/{name}"
        for name in (
            "ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem",
            "pki/tls/openssl.cnf", "ca-certificates", "crypto-policies", "resolv.conf", "hosts", "host.conf",
            "nsswitch.conf", "gai.conf", "services", "protocols", "passwd", "group", "localtime", "timezone",
            "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "mime.types",
        )
    ),
)  # fmt: skip
_PATH_VARIABLES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TZDIR", "LD_LIBRARY_PATH",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Needs:
    """The files that a child reads.

    Attributes:
        required: Files and folders without which it cannot work.
        path: Folders of modules, as in `sys.path`. Hidden files in them are not readable.
    """

    required: Sequence[str]
    path: Sequence[str]


def needs(files: Iterable[str]) -> Needs:
    """Return what a child of this process needs: Python, the installed packages, this package and `files`."""
    named = (part for name in _PATH_VARIABLES for part in os.environ.get(name, "").split(os.pathsep))
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    required = (*installed, str(Path(__file__).parents[1]), *_main_script(), *files, *filter(None, named))
    present = (path for path in map(Path, required) if path.exists())
    return Needs(
        [*dict.fromkeys(str(path.absolute()) for path in present)], [str(Path(e).absolute()) for e in sys.path]
    )


def _main_script() -> Iterator[str]:
    """Yield the script that this process was started with, if it is one: `multiprocessing` reads it in each child."""
    main = sys.modules["__main__"]
    if main.__spec__ is None and (file := getattr(main, "__file__", None)):
        yield str(file)


def protect_memory() -> None:
    """Keep other processes of this user from reading this process's memory and environment; disable core dumps.

    Outside Linux, it only disables core dumps.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if IS_LINUX:
        _prctl(_PR_SET_DUMPABLE, 0)


def confine(needed: Needs) -> list[tuple[int, str]]:
    """Confine this process, and all processes that it starts, permanently.

    Returns:
        The restrictions that could not be applied, each with the `logging` level to report it at. Empty if all are.
    """
    if not IS_LINUX:
        protect_memory()
        return [(logging.WARNING, f"confinement is not supported on {sys.platform}")]
    root_reason = _become_nobody(needed) if os.geteuid() == 0 else None
    # The temporary folder may be accessible to root only: choose it again for the new user.
    tempfile.tempdir = None
    try:
        _drop_capabilities()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        protect_memory()  # a change of user reset it
        landlock.restrict(readable=_readable(needed), writable=(tempfile.gettempdir(), "/dev/null"))
    except OSError as error:
        user = f"root ({root_reason})" if root_reason else "their user"
        return [(logging.WARNING, f"they can read the files of {user}, such as .env (Landlock: {error.strerror})")]
    return [(logging.INFO, f"they run as root, without capabilities: {root_reason}")] if root_reason else []


def _readable(needed: Needs) -> Iterator[str]:
    yield from _SYSTEM_PATHS
    yield from needed.required
    # Often a link to a file that a resolver replaces atomically: its folder has to be readable.
    resolver = Path("/etc/resolv.conf").resolve()
    if not resolver.is_relative_to("/etc"):
        yield str(resolver.parent)
    for prefix in {sys.prefix, sys.base_prefix}:
        # The virtual environment may be the project's folder itself, where `.env` is.
        yield from (str(found) for found in Path(prefix).iterdir() if not found.name.startswith("."))
    for entry in map(Path, needed.path):
        with suppress(OSError):
            yield from map(str, _modules_in(entry) if entry.is_dir() else [entry])


def _modules_in(folder: Path) -> Iterator[Path]:
    """Yield the visible entries of a folder of modules; only modules, if the folder contains the user's home."""
    home = Path(os.environ.get("HOME", "/"))
    for found in folder.iterdir():
        is_module = found.suffix in (".py", ".so") or (found / "__init__.py").is_file()
        if not found.name.startswith(".") and (is_module or not home.is_relative_to(folder)):
            yield found


def _become_nobody(needed: Needs) -> str | None:
    """Become the user `nobody` permanently, or stay root and return the reason."""
    user, group = _nobody()
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setegid(group)
        os.seteuid(user)
    except OSError as error:
        problem: str | None = f"cannot become another user: {error.strerror}"
    else:
        # Check the access as `nobody` before the change becomes irreversible.
        unreadable = [path for path in needed.required if not _may_read(path)]
        problem = f"the user nobody cannot read {unreadable[0]}" if unreadable else None
    os.seteuid(0)
    if problem:
        os.setegid(os.getgid())
        os.setgroups(groups)
        return problem
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    return None


def _nobody() -> tuple[int, int]:
    import pwd  # noqa: PLC0415 (in the child alone)

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return _NOBODY, _NOBODY
    return entry.pw_uid, entry.pw_gid


def _may_read(path: str) -> bool:
    try:
        mode = os.R_OK | os.X_OK if Path(path).is_dir() else os.R_OK
    except PermissionError:  # of a folder above it
        return False
    return os.access(path, mode, effective_ids=True)


def _drop_capabilities() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
