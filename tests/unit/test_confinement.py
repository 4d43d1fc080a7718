"""A compromised child process finds none of its worker's secrets, whether the worker is root or any other user."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from worker.processes.confinement import needs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is promised")

REPOSITORY = Path(__file__).parents[2]
PACKAGES = f"{sysconfig.get_path('platlib')}:{sysconfig.get_path('purelib')}"
NOBODY, SOMEBODY = 65534, 65533
IS_ROOT = os.getuid() == 0


def open_python() -> list[str]:
    """A Python of this version that every user may run, where there is one, with the packages of this one."""
    candidates = (sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin"))
    for python in filter(None, candidates):
        command = ["env", f"PYTHONPATH={REPOSITORY}:{PACKAGES}", python]
        program = "import worker.processes.sandbox, tests.support.intruder"
        ran = subprocess.run([*command, "-c", program], user=NOBODY, capture_output=True, check=False, cwd="/")
        if ran.returncode == 0:
            return command
    pytest.skip("no other user may run this Python, or read this folder")


def own_python() -> list[str]:
    return ["env", f"PYTHONPATH={REPOSITORY}", sys.executable]


Look = Callable[..., dict[str, Any]]


@pytest.fixture
def look(open_folder: Path) -> Look:
    def with_child(python: list[str], user: int, *, env_mode: int = 0o600, **environment: str) -> dict[str, Any]:
        needle = f"needle-{secrets.token_hex(16)}"
        work, temporary = open_folder / "work", open_folder / "temporary"
        for made, mode in ((work, 0o755), (temporary, 0o1777)):
            made.mkdir()
            made.chmod(mode)
            os.chown(made, user, -1)
        hidden, shown = work / ".env", open_folder / "shown"
        hidden.write_text(f"UNIPILE_API_KEY={needle}\n")
        hidden.chmod(env_mode)
        os.chown(hidden, user, -1)
        shown.write_bytes(b"certificates")
        os.chown(shown, user, -1)
        secret = {
            "SUPABASE_URL": "http://127.0.0.1:1",
            "SUPABASE_SERVICE_ROLE_KEY": needle,
            "supabase_password": needle,
            "DATABASE_URL": needle,
            "TMPDIR": str(temporary),
        }
        ran = subprocess.run(
            [*python, "-m", "tests.support.intruder", str(hidden), str(shown)],
            env=os.environ | secret | {name: value.format(needle=needle) for name, value in environment.items()},
            cwd=work,
            user=user if IS_ROOT else None,
            group=user if IS_ROOT else None,
            extra_groups=[] if IS_ROOT and user else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        assert not {"SUPABASE_SERVICE_ROLE_KEY", "supabase_password"} & {*answer["environment"]}
        return answer | {"told": ran.stderr}

    return with_child


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
@pytest.mark.parametrize("env_mode", [0o600, 0o644])
def test_of_root(look: Look, env_mode: int) -> None:
    answer = look(open_python(), 0, env_mode=env_mode)
    assert answer["found"] == []
    assert answer["child"] == {"user": NOBODY, "groups": [], "module": "wave"}
    assert answer["told"] == ""


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_of_root_if_the_user_nobody_cannot_read_the_required_files(look: Look, open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(REPOSITORY / "worker", closed / "worker")
    shutil.copytree(REPOSITORY / "tests", closed / "tests", ignore=shutil.ignore_patterns("node_modules"))
    answer = look(["env", f"PYTHONPATH={closed}:{PACKAGES}", sys.executable], 0)
    assert answer["found"] == []
    assert answer["child"]["user"] == 0


def test_of_an_ordinary_user(look: Look) -> None:
    answer = look(open_python() if IS_ROOT else own_python(), SOMEBODY if IS_ROOT else os.getuid())
    assert answer["found"] == []
    assert answer["child"]["module"] == "wave"
    assert answer["told"] == ""


def test_the_search_finds_a_secret_that_a_child_is_given(look: Look) -> None:
    answer = look(own_python(), os.getuid(), LANGUAGE="{needle}")
    # A child that has changed its user can read its memory by one way only.
    assert any("of itself" in place for place in answer["found"])


WITHOUT = """
import sys
from pathlib import Path
from worker.processes import confinement, landlock

def refuse(**_):
    raise OSError(38, "Function not implemented")

landlock.restrict = refuse
confinement.IS_LINUX = sys.argv[1] == "linux"
print(confinement.confine(confinement.needs([])))
status = Path("/proc/self/status").read_text().splitlines()
print([line for line in status if line.startswith(("CapEff", "NoNewPrivs"))])
"""


def confined_without(system: str) -> tuple[str, str]:
    command = [sys.executable, "-c", WITHOUT, system]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    gaps, status = ran.stdout.splitlines()
    return gaps, status


def test_a_kernel_without_landlock_is_reported() -> None:
    gaps, status = confined_without("linux")
    assert "they can read the files of " in gaps
    assert ".env (Landlock: Function not implemented)" in gaps
    assert f"CapEff:\\t{0:016x}" in status
    assert "NoNewPrivs:\\t1" in status


def test_a_system_without_confinement_is_reported() -> None:
    gaps, _ = confined_without("another")
    assert gaps == "[(30, 'confinement is not supported on linux')]"


def test_importing_confined_outside_a_child_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "worker.processes.confined", raising=False)
    with pytest.raises(KeyError, match="WORKER_CHILD_NEEDS"):
        importlib.import_module("worker.processes.confined")


def test_the_script_of_the_parent_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Each child reads it. Where the user nobody cannot, the children stay root, as for packages.
    script = tmp_path / "server.py"
    script.touch()
    main = ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert str(script) in needs([]).required
    main.__spec__ = ModuleSpec("worker.__main__", None)  # of `python -m`
    assert str(script) not in needs([]).required
