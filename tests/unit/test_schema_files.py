"""The files of `supabase/schemas/`: each says what it decides and which files it calls, and there are no circles."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tools.schema.files import PROJECT, SchemaFile, make_migrations, released_migrations, schema_files
from worker.local.supabase.migrations import split_statements

FILES = schema_files()
MAX_FUNCTION_LINES = 80

_HEADER = re.compile(r"(?P<decision>(?:-- (?!Calls: ).+\n)+)-- Calls: (?P<calls>(?:.+\n)(?:--   .+\n)*)\n")
_FUNCTION = re.compile(r"create (?:or replace )?function (?P<name>[\w.]+)\s*\(")
_CALL = re.compile(r"\b(?P<name>(?:public|worker)\.\w+)\s*\(")
_COMMENT_OR_TEXT = re.compile(r"--[^\n]*|'(?:[^']|'')*'")

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def functions_of(file: SchemaFile) -> list[tuple[str, int]]:
    """The functions that a file creates, each with its lines from `create function` to the end."""
    found = []
    for statement in split_statements(file.text):
        code = re.sub(r"\A(?:--.*\n|\s)*", "", statement)
        if match := _FUNCTION.match(code):
            found.append((match["name"], len(code.splitlines())))
    return found


FILE_OF = {function: file.name for file in FILES for function, _ in functions_of(file)}


def calls_of(file: SchemaFile) -> set[str]:
    """The other files whose functions a file calls: in functions, views, defaults and statements."""
    code = [_COMMENT_OR_TEXT.sub("''", statement).strip() for statement in split_statements(file.text)]
    called = {
        match["name"]
        for statement in code
        if not statement.removeprefix("''").strip().startswith(("grant ", "revoke ", "comment "))
        for match in _CALL.finditer(statement)
    }
    return {FILE_OF[name] for name in called if name in FILE_OF} - {file.name}


def header_of(file: SchemaFile) -> re.Match[str]:
    match = _HEADER.match(file.text)
    assert match is not None, "begins with what is decided here, `Calls: file, file.`, and an empty line"
    return match


def test_config_lists_each_file_once() -> None:
    listed = [file.name for file in FILES]
    folder = PROJECT / "schemas"
    assert sorted(listed) == sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.sql")
    )


@every_file
def test_the_header_says_what_is_decided_and_which_files_are_called(file: SchemaFile) -> None:
    header = header_of(file)
    sentences = re.findall(r"[.?](?=\s|$)", header["decision"])
    assert 1 <= len(sentences) <= 6
    listed = re.sub(r"\s*\n--\s*", " ", header["calls"]).strip().removesuffix(".")
    expected = [other.name for other in FILES if other.name in calls_of(file)]
    assert listed == (", ".join(expected) or "nothing")


@every_file
def test_a_file_calls_only_files_before_it(file: SchemaFile) -> None:
    before = {other.name for other in FILES[: FILES.index(file)]}
    assert calls_of(file) <= before


def test_each_function_is_in_one_file() -> None:
    counts = Counter(name for file in FILES for name, _ in functions_of(file))
    assert len(counts) > 100
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_function_is_too_long() -> None:
    lengths = dict(function for file in FILES for function in functions_of(file))
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_the_migrations_are_made_from_the_files() -> None:
    if released_migrations():
        pytest.skip("released migrations are compared by what they create: tests/integration/test_schema_files.py")
    migrations = {path.name: path.read_text() for path in (PROJECT / "migrations").glob("*.sql")}
    assert migrations == make_migrations(FILES), "run ./scripts/schema"


# That the tests above would fail ------------------------------------------------------------------------------------


def test_calls_are_found_in_code_alone() -> None:
    file = SchemaFile(
        "kernel/other",
        """
        -- worker.lock_lease()
        create function worker.other() returns void language plpgsql as $$
        begin
            -- it's worker.lock_lease()
            perform worker.require_site(null, 'worker.lock_lease()');
        end;
        $$;
        comment on function worker.other() is 'worker.lock_lease()';
        create table worker.others (at timestamptz default worker.now());
        grant execute on function worker.lock_lease(uuid, uuid) to service_role;
        """,
    )
    assert calls_of(file) == {"kernel/run_sites", "kernel/clock"}


def test_the_optional_files_must_stand_together() -> None:
    files = [SchemaFile(name, "") for name in ("embeddings/model", "kernel/clock", "embeddings/queue")]
    with pytest.raises(ValueError, match="embeddings"):
        make_migrations(files)
