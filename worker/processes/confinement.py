"""What keeps a child process, also one that a hostile site has taken over, from the secrets of its parent.

The parent conceals itself: root alone may read its memory and its environment. The process that the children come from
is confined: another user where the parent is root, no capability, no program to run, no file but what Python and TLS
need, and no other process. Elsewhere than on Linux there is neither, which `confine` tells.
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

# What the C library, TLS and time zones are read from. Neither /etc nor /run as a whole: platforms put secrets there.
_SYSTEM = (
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
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_FOLDERS = ("TZDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a child has to read for its work.

    Attributes:
        required: Files and folders without which it cannot work.
        path: Where modules are looked for, as in `sys.path`; there, what is hidden is not to be read.
    """

    required: Sequence[str]
    path: Sequence[str]


def needs(files: Iterable[str]) -> Needs:
    """Return what a child of this process needs: Python, the installed packages, this one, and these files."""
    named = (part for name in (*_CERTIFICATES, *_FOLDERS) for part in os.environ.get(name, "").split(os.pathsep))
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    required = (*installed, str(Path(__file__).parents[1]), *files, *filter(None, named))
    present = (path for path in map(Path, required) if path.exists())
    return Needs(
        [*dict.fromkeys(str(path.absolute()) for path in present)], [str(Path(e).absolute()) for e in sys.path]
    )


def conceal() -> None:
    """Let no other process of this user read this one's memory or environment, and leave no core dump.

    Elsewhere than on Linux only the dump is prevented.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if IS_LINUX:
        _prctl(_PR_SET_DUMPABLE, 0)


def confine(needed: Needs) -> list[tuple[int, str]]:
    """Confine this process, and all that it starts, for good.

    Returns:
        What could not be taken from it, each with the level of `logging` at which an operator should hear of it; empty
        where nothing is left.
    """
    if not IS_LINUX:
        conceal()
        return [(logging.WARNING, f"{sys.platform} has no means against it that this worker knows")]
    stays = _become_nobody(needed) if os.geteuid() == 0 else None
    # The folder may have been root's alone: another one is chosen then.
    tempfile.tempdir = None
    try:
        _drop_capabilities()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        conceal()  # a change of user ends it
        landlock.restrict(readable=_readable(needed), writable=(tempfile.gettempdir(), "/dev/null"))
    except OSError as error:
        user = f"root, which they stay because {stays}" if stays else "their user"
        return [(logging.WARNING, f"it may read the files of {user}, such as .env: Landlock: {error.strerror}")]
    return [(logging.INFO, f"it stays root, without capabilities, because {stays}")] if stays else []


def _readable(needed: Needs) -> Iterator[str]:
    yield from _SYSTEM
    yield from needed.required
    # Written as a whole, and renamed, by what keeps it: often elsewhere.
    names = Path("/etc/resolv.conf").resolve()
    if not names.is_relative_to("/etc"):
        yield str(names.parent)
    for prefix in {sys.prefix, sys.base_prefix}:
        # Some make the environment in the folder of the project, where `.env` is.
        yield from (str(found) for found in Path(prefix).iterdir() if not found.name.startswith("."))
    for entry in map(Path, needed.path):
        with suppress(OSError):
            yield from map(str, _modules_in(entry) if entry.is_dir() else [entry])


def _modules_in(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder of modules but for what is hidden; where people keep other things, modules alone."""
    home = Path(os.environ.get("HOME", "/"))
    for found in folder.iterdir():
        is_module = found.suffix in (".py", ".so") or (found / "__init__.py").is_file()
        if not found.name.startswith(".") and (is_module or not home.is_relative_to(folder)):
            yield found


def _become_nobody(needed: Needs) -> str | None:
    """Become the user `nobody` for good, or stay who one is and tell why."""
    user, group = _nobody()
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setegid(group)
        os.seteuid(user)
    except OSError as error:
        problem: str | None = f"they cannot become another user: {error.strerror}"
    else:
        # Tried under its rights, while there is a way back.
        unreadable = [path for path in needed.required if not _may_read(path)]
        problem = f"nobody cannot read {unreadable[0]}" if unreadable else None
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
