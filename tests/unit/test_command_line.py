"""What the command says of itself."""

from __future__ import annotations

import sys

import pytest

from worker import __version__
from worker.cli.main import main


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"supabase-search-worker {__version__}\n"


@pytest.mark.parametrize(
    ("started_as", "shown"),
    [
        ("/venv/bin/supabase-search-worker", "supabase-search-worker"),
        ("supabase-search-worker.exe", "supabase-search-worker"),
        ("/venv/lib/worker/__main__.py", "python -m worker"),
    ],
)
def test_help_shows_the_name_that_the_command_was_started_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], started_as: str, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", [started_as])
    for arguments in (["--help"], ["run", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
    first, second = (text for text in capsys.readouterr().out.split("usage: ") if text)
    assert first.startswith(f"{shown} [-h] [--version] COMMAND")
    assert second.startswith(f"{shown} run [-h]")
