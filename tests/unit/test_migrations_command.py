"""`migrations` writes what a project does not have, and never changes a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.cli.main import main
from worker.local.migration_files import migrations_folder

OURS = {file.name: file.read_bytes() for file in migrations_folder().glob("*.sql")}
FIRST, *_, LAST = sorted(OURS)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["migrations", "--to", str(folder)])
    out, err = capsys.readouterr()
    return code, out, err


def test_all_are_written_into_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "supabase" / "migrations"
    code, out, err = run(folder, capsys)
    assert (code, err) == (0, "")
    assert out == "".join(f"wrote {folder / name}\n" for name in sorted(OURS)) + "Next: supabase db push\n"
    assert files(folder) == OURS


def test_the_default_is_the_folder_of_the_cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["migrations"]) == 0
    assert files(tmp_path / "supabase" / "migrations") == OURS
    assert "wrote supabase/migrations/" in capsys.readouterr().out


def test_only_what_is_missing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FIRST).write_bytes(OURS[FIRST])
    (tmp_path / "20200101000000_own.sql").write_text("select 1;\n")
    (tmp_path / "notes.md").write_text("mine")
    before = (tmp_path / FIRST).stat().st_mtime_ns
    code, out, _ = run(tmp_path, capsys)
    assert code == 0
    assert FIRST not in out
    assert f"wrote {tmp_path / LAST}\nNext: supabase db push\n" in out
    assert (tmp_path / FIRST).stat().st_mtime_ns == before
    assert files(tmp_path) == OURS | {"20200101000000_own.sql": b"select 1;\n", "notes.md": b"mine"}

    code, out, err = run(tmp_path, capsys)
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path} has all {len(OURS)} migrations of ")


def test_migrations_older_than_the_projects_own_are_pushed_with_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "29990101000000_own.sql").write_text("select 1;\n")
    code, out, _ = run(tmp_path, capsys)
    assert code == 0
    assert out.endswith("Next: supabase db push --include-all\n")


def test_a_changed_file_is_named_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LAST).write_bytes(OURS[LAST] + b"-- mine\n")
    code, out, err = run(tmp_path, capsys)
    assert (code, out) == (1, "")
    assert err.startswith(f"{tmp_path / LAST} is not the migration of ")
    assert err.endswith("Nothing was written.\n")
    assert files(tmp_path) == {LAST: OURS[LAST] + b"-- mine\n"}


def test_ends_of_lines_are_no_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FIRST).write_bytes(OURS[FIRST].replace(b"\n", b"\r\n"))
    code, _, err = run(tmp_path, capsys)
    assert (code, err) == (0, "")
    assert files(tmp_path)[FIRST] == OURS[FIRST].replace(b"\n", b"\r\n")


def test_another_file_of_the_same_version_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = FIRST.partition("_")[0] + "_other.sql"
    (tmp_path / other).write_text("select 1;\n")
    code, out, err = run(tmp_path, capsys)
    assert (code, out) == (1, "")
    assert f"{tmp_path / other} has the version of {FIRST}" in err
    assert files(tmp_path) == {other: b"select 1;\n"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = run(tmp_path / "file" / "migrations", capsys)
    assert (code, out) == (1, "")
    assert str(tmp_path / "file") in err
