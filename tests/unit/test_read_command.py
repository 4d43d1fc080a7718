"""The command `read`, and what `import` says before it needs a database."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worker.cli.main import main
from worker.model import Item

ROOT = Path(__file__).parents[2]
ROW: dict[str, Any] = {
    "id": "in-1", "site": "indeed", "title": "Welder", "job_url": "https://www.indeed.com/viewjob?jk=1",
    "location": "Pleasant Prairie, WI, US", "is_remote": "False",
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without a file `.env`."""
    monkeypatch.chdir(tmp_path)


def written(*rows: Any) -> str:
    """The path of a file with these rows as JSON lines."""
    path = Path("rows.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_each_item_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = run(capsys, "read", "jobspy", written(ROW, ROW | {"id": "in-2"}))
    assert (code, errors) == (0, "")
    first, second = map(json.loads, output.splitlines())
    assert first.keys() == {"site"} | {*Item.__dataclass_fields__}
    assert (first["site"], first["external_id"], first["region"]) == ("indeed", "in-1", "WI")
    assert second["external_id"] == "in-2"


def test_standard_input_is_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = f"{','.join(ROW)}\n{','.join(str(value).replace(',', ' ') for value in ROW.values())}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
    code, output, errors = run(capsys, "read", "jobspy", "-")
    assert (code, errors, json.loads(output)["is_remote"]) == (0, "", False)


def test_invalid_records_are_reported_and_the_others_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = run(capsys, "read", "jobspy", written(ROW, ROW | {"title": "<br>"}, ROW | {"job_url": "x"}))
    assert (code, len(output.splitlines())) == (1, 1)
    assert errors == (
        "record 2: title: is missing\nrecord 3: job_url: is missing or invalid\n2 of 3 records are invalid\n"
    )


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "read", "jobspy", "--table", written(ROW))
    assert code == 0
    assert output.split()[:2] == ["Title", "Location"]
    assert "Welder" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "f"], "SOURCE: 'nobody' is not one of jobspy, jsearch, "),
        (["jobspy", "f", "--site", "monster"], "--site: 'monster' is not a site of jobspy; allowed: linkedin, "),
        (["jobspy", "f", "--board", "acme"], "--board: jobspy has no boards"),
        (["lever", "f", "--board", "../x"], "--board: '../x' is not the name of a board"),
        (["jobspy", "f"], "f cannot be read: No such file or directory"),
        (["jobspy", "."], ". cannot be read: Is a directory"),
        (["jobspy", "empty"], "empty is empty"),
        (["greenhouse", "own"], "own does not say which board it comes from: neither the content nor "),
    ],
)
@pytest.mark.parametrize("command", ["read", "import"])
def test_wrong_use_is_explained(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    arguments: list[str],
    message: str,
) -> None:
    for name, value in {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    Path("empty").touch()
    Path("own").write_text('{"jobs": [{"id": 1, "title": "Welder", "absolute_url": "https://acme.example/1"}]}')
    if command == "import":
        source, *others = arguments
        arguments = [*others, "--source", source, "--user", "ada@example.com"]
    code, output, errors = run(capsys, command, *arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(message)
    assert ("; name it with --board" in errors) == ("own" in arguments)


def test_an_error_of_the_output_is_not_one_of_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = written(ROW)
    monkeypatch.setattr(sys.stdout, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        main(["read", "jobspy", path])
    assert path not in capsys.readouterr().err


@pytest.mark.parametrize("reading", ["readline", "read"])
def test_a_file_whose_reading_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reading: str
) -> None:
    class Broken(io.BytesIO):
        pass

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    setattr(Broken, reading, fail)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Broken(b"[\n1]")))
    code, output, errors = run(capsys, "read", "jobspy", "-")
    assert (code, output, errors) == (2, "", "standard input cannot be read: Input/output error\n")


def test_a_pipe_is_not_imported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    os.mkfifo("pipe")
    code, output, errors = run(capsys, "import", "pipe", "--user", "ada@example.com")
    assert (code, output) == (2, "")
    assert errors == "pipe is a pipe or a device, and an import reads a file twice: save it to a file\n"


def test_neither_a_client_of_the_database_nor_jobspy_is_imported() -> None:
    program = (
        "import sys; from worker.cli.main import main; main(['read', 'jobspy', sys.argv[1]]);"
        "print(sorted({'supabase', 'jobspy', 'pandas'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program, written(ROW)]
    answer = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_enough_is_no_crash() -> None:
    path = written(*[ROW | {"description": "x" * 1000}] * 300)
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "read", "jobspy", path],
        env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
