"""Makes `docs/versions.md` from `tried.json`."""

from __future__ import annotations

from collections.abc import Iterator

from tools.versions.environments import PYTHONS
from tools.versions.tried import SHOWN, TESTS, Tried, tried_before

_BEFORE = """\
# Versions

What the package was tried with, and what not. Made by `./scripts/versions`, which tries each `python3.N` that it finds
on `PATH`:

- **least**: the least versions that `pyproject.toml` allows, of what it names. What those packages need in turn is as
  new as they allow.
- **pinned**: the versions in `requirements-dev.txt`.
- **newest**: the newest versions that `pyproject.toml` allows.

With each of them it runs the tests of the code that calls packages ({tests} files of `tests/unit`), and the demo: a
local Supabase, a worker that searches the simulated boards with JobSpy, and users who watch it through Supabase's
clients. The demo fails unless every run ends as it should.

## Python and packages

| Python | packages | day | system | tests | demo |
|---|---|---|---|---|---|
"""
_VERSIONS = """
The versions of these:

| Python | packages | {names} |
|---|---|{line}
"""
_AFTER = """
`./scripts/test` runs all tests, with one Python and the pinned packages.

`wordllama` 0.4 has no wheel for Python 3.14: there, the extra `embed` needs a C++ compiler and the headers of Python.
{missing}
## PostgreSQL

| version | from | tried |
|---|---|---|
| 15 | Debian, without pgvector 0.8 | in CI: all tests that use a database, and those in pgTAP |
| 16 | a wheel, with pgvector | 29 November 2026: 296 tests (schema, rights, claims, sharing, schedules), all passed |
| 17 | npm, without pgvector | in CI: all tests that use a database |
| 18 | the wheel of the local stack, with pgvector | in CI: all tests |

`./scripts/test --postgres 16` runs the tests on another version. Hosted Supabase runs 15 and 17.

## Not tried

- Other systems than Linux on x86-64: macOS, Windows, ARM.
- Hosted Supabase: see [The Supabase platform](platform.md).
- Real job boards.
"""


def versions_page() -> str:
    """Return the page."""
    tried = tried_before()
    lines = [_BEFORE.format(tests=len(TESTS)).rstrip("\n"), *map(_result, tried)]
    lines += [
        _VERSIONS.format(names=" | ".join(SHOWN), line="---|" * len(SHOWN)).rstrip("\n"),
        *_package_versions(tried),
    ]
    missing = [version for version in PYTHONS if version not in {_minor(entry) for entry in tried}]
    said = f"\nPython {', '.join(missing)} was not tried.\n" if missing else ""
    return "\n".join(lines) + "\n" + _AFTER.format(missing=said)


def _result(entry: Tried) -> str:
    python = entry.versions["python"]
    return f"| {python} | {entry.packages} | {entry.day} | {entry.system} | {entry.tests} | {entry.demo} |"


def _package_versions(tried: list[Tried]) -> Iterator[str]:
    for entry in tried:
        versions = " | ".join(entry.versions[name] for name in SHOWN)
        yield f"| {entry.versions['python']} | {entry.packages} | {versions} |"


def _minor(entry: Tried) -> str:
    return entry.versions["python"].rpartition(".")[0]
