"""The TypeScript that README.md and the pages in docs/ show, and the client of frontends, are compiled."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.node import NODE_MODULES, RUN_SECONDS, SCRIPTS

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
EXAMPLES = {
    f"{page.stem.lower()}-{number}": block
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```ts\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE), 1)
}
TSC = NODE_MODULES / ".bin" / "tsc"
EXAMPLE = PROJECT / "examples" / "nextjs"
CLIENT = EXAMPLE / "lib" / "search"
OPTIONS = {
    "strict": True, "noUncheckedIndexedAccess": True, "noEmit": True, "target": "es2022", "module": "esnext",
    "moduleResolution": "bundler", "lib": ["es2022", "dom"], "skipLibCheck": True,
}  # fmt: skip

needs_tsc = pytest.mark.skipif(not TSC.exists(), reason="needs TypeScript: npm ci --prefix tests/e2e")


def compiled(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Compile the files of a folder, which sees the packages of the tests."""
    (folder / "node_modules").symlink_to(NODE_MODULES)
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": files}))
    return subprocess.run([TSC, "--project", folder], capture_output=True, text=True, timeout=RUN_SECONDS, check=False)


@needs_tsc
def test_typescript_of_the_documents_compiles(tmp_path: Path) -> None:
    for name, block in EXAMPLES.items():
        (tmp_path / f"{name}.ts").write_text(f"{block}\nexport {{}}\n")
    shutil.copytree(CLIENT, tmp_path / "lib" / "search")
    answer = compiled(tmp_path, str(SCRIPTS / "documents.d.ts"), *(f"{name}.ts" for name in EXAMPLES))
    assert answer.returncode == 0, answer.stdout


@needs_tsc
def test_the_client_compiles_and_imports_supabase_js_and_react_alone(tmp_path: Path) -> None:
    files = [path.name for path in shutil.copytree(CLIENT, tmp_path / "search").glob("*.ts")]
    answer = compiled(tmp_path, *(f"search/{file}" for file in files))
    assert answer.returncode == 0, answer.stdout
    imported = {
        (file, package) for file in files for package in re.findall(r"from '([^.'][^']*)'", (CLIENT / file).read_text())
    }
    assert {package for file, package in imported if file != "react.ts"} == {"@supabase/supabase-js"}
    assert {package for _, package in imported} == {"@supabase/supabase-js", "react"}


@needs_tsc
def test_the_route_for_vercels_cron_compiles_and_imports_supabase_js_alone(tmp_path: Path) -> None:
    # It is copied into other frontends with the client. The other routes are compiled with the whole of this one.
    shutil.copytree(CLIENT, tmp_path / "lib" / "search")
    route = "app/api/cron/route.ts"
    (tmp_path / route).parent.mkdir(parents=True)
    shutil.copy(EXAMPLE / route, tmp_path / route)
    answer = compiled(tmp_path, str(SCRIPTS / "nextjs.d.ts"), route)
    assert answer.returncode == 0, answer.stdout
    assert set(re.findall(r"from '([^.'][^']*)'", (EXAMPLE / route).read_text())) == {"@supabase/supabase-js"}


def test_there_is_typescript_to_compile() -> None:
    assert len(EXAMPLES) > 3
