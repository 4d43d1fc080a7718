"""The package as users install it: from a wheel, outside a clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.utils import canonicalize_name

from tools.dependencies.installed import WORKER
from tools.dependencies.measured import measured
from worker.local.migration_files import migrations_folder

ROOT = Path(__file__).parents[2]
MIGRATIONS = {file.name for file in migrations_folder().glob("*.sql")}
SOURCES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "worker").rglob("*") if path.is_file()}


def ran(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    """Run a command that must succeed; return its output. It does not see the clone."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL", "COV"))}
    done = subprocess.run(
        command, cwd=folder, env=clean | environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    ran([sys.executable, "-m", "hatchling", "build", "-d", folder], ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips tests that install packages where no package index can be reached."""
    folder = tmp_path_factory.mktemp("reached")
    reached = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "h11"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if reached.returncode != 0:
        pytest.skip(f"needs a package index: {reached.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def installed(index: None, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """The folder of the commands of an environment that has the wheel, with what the demo needs."""
    folder = tmp_path_factory.mktemp("environment")
    ran([sys.executable, "-m", "venv", folder], folder)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    ran([*pip, "install", "--quiet", f"{wheel}[local]"], folder)
    return folder / "bin"


def test_the_wheel_has_the_package_and_the_migrations_and_nothing_else(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {name for name in SOURCES if "__pycache__" not in name}
    assert names == expected | {f"worker/local/migrations/{name}" for name in MIGRATIONS}


def test_the_sdist_has_what_the_wheel_is_made_of_and_nothing_else(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    expected = {name for name in SOURCES if "__pycache__" not in name}
    expected |= {f"supabase/migrations/{name}" for name in MIGRATIONS}
    described = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert names == expected | described | ({".gitignore"} & names)


def test_the_packages_pass_the_checks_of_the_index(built: Path) -> None:
    checked = ran([sys.executable, "-m", "twine", "check", "--strict", *sorted(built.iterdir())], built)
    assert checked.count("PASSED") == 2


def test_without_the_extra_the_demo_says_what_is_missing(tmp_path: Path) -> None:
    program = "import sys; sys.modules['psycopg'] = None; from worker.cli.main import main; sys.exit(main(['demo']))"
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode == 1
    assert process.stderr == "psycopg is missing: pip install 'supabase-search-worker[local]'\n"


@pytest.mark.timeout(300)
def test_a_project_gets_the_migrations(installed: Path, tmp_path: Path) -> None:
    written = ran([installed / "supabase-search-worker", "migrations"], tmp_path)
    assert written.endswith("Next: supabase db push\n")
    folder = tmp_path / "supabase" / "migrations"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in migrations_folder().glob("*.sql")
    }


@pytest.mark.timeout(300)
def test_the_demo_shows_everything(installed: Path, tmp_path: Path) -> None:
    # As in a project that has a package of the same name.
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    shown = ran([installed / "supabase-search-worker", "demo"], tmp_path, COLUMNS="80")
    assert "Found for ada: engineer" in shown
    assert "supabase-search-worker migrations" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"worker"}


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("index")
def test_the_list_of_components_is_what_is_pinned() -> None:
    written = ROOT / ran([ROOT / "scripts" / "sbom"], ROOT).strip()
    listed = json.loads(written.read_text())
    pinned = {name: package.version for name, package in measured().packages.items() if WORKER in package.sets}
    assert listed["bomFormat"] == "CycloneDX"
    assert {canonicalize_name(part["name"]): part["version"] for part in listed["components"]} == pinned
    assert [part["name"] for part in listed["components"] if not part.get("licenses")] == []
