"""Restricts a process with Landlock, which needs no root: https://docs.kernel.org/userspace-api/landlock.html."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

# Numbers of the system calls, equal on all architectures for which Python wheels exist.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_READ = _READ_FILE | _READ_DIR
_FILE_RIGHTS = _WRITE_FILE | _READ_FILE | _TRUNCATE
# Rights by the ABI version that introduced them: version 1 has all up to MAKE_SYM, 2 has REFER, 3 has TRUNCATE. The
# ruleset handles all of them, and no rule grants EXECUTE.
_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: _TRUNCATE}
_EXECUTE = 1 << 0
# Scopes: no abstract sockets of, and no signals to, processes outside.
_SCOPES_SINCE, _SCOPES = 6, 0b11
_NETWORK_SINCE = 4


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _layout_ = "ms"  # what `_pack_` implies; Python 3.14 asks for it, older ones ignore it
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict(*, readable: Iterable[str], writable: Iterable[str]) -> None:
    """Restrict this thread, and the processes that it starts, to these files.

    They cannot run programs. They cannot trace processes outside, nor read their memory and environment, whichever user
    these belong to; on Linux 6.12 or newer they cannot send them signals either. Open files stay open. The thread must
    have set `no_new_privs`.

    Args:
        readable: Files, and folders with their contents. Missing ones are ignored.
        writable: Files and folders to write and read.

    Raises:
        OSError: The kernel does not support Landlock, or refuses it.
    """
    version = _call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    rights = sum(right for since, right in _RIGHTS.items() if since <= version)
    ruleset = _Ruleset(rights, 0, _SCOPES if version >= _SCOPES_SINCE else 0)
    fields = 3 if version >= _SCOPES_SINCE else 2 if version >= _NETWORK_SINCE else 1
    rules = _call(_CREATE_RULESET, ctypes.byref(ruleset), fields * ctypes.sizeof(ctypes.c_uint64), 0)
    try:
        for path in readable:
            _allow(rules, path, _READ)
        for path in writable:
            _allow(rules, path, rights & ~_EXECUTE)
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _FILE_RIGHTS
        rule = _PathBeneath(rights, opened)
        _call(_ADD_RULE, rules, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    passed = (ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments)
    answer: int = libc.syscall(ctypes.c_long(number), *passed)
    if answer < 0:
        number_of_error = ctypes.get_errno()
        raise OSError(number_of_error, os.strerror(number_of_error))
    return answer
