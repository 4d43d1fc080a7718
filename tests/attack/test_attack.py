"""The attack of two hostile users and a hostile board, in short: how long things take is for scripts/attack alone."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.database
def test_an_honest_user_is_served_all_the_same() -> None:
    attack = subprocess.run(
        [sys.executable, "-m", "tests.attack", "--seconds", "4", "--any-speed"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert attack.returncode == 0, attack.stdout + attack.stderr
    assert "The honest user was served as without the attack." in attack.stdout
