"""The TypeScript that README.md and the pages in docs/ show, compiled with the types of the schema."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.node import NODE_MODULES, RUN_SECONDS, SCRIPTS

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
EXAMPLES = {
    f"{page.stem.lower()}-{number}": block
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```ts\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE), 1)
}
TSC = NODE_MODULES / ".bin" / "tsc"
OPTIONS = {
    "strict": True, "noEmit": True, "target": "es2022", "module": "esnext", "moduleResolution": "bundler",
    "lib": ["es2022", "dom"], "skipLibCheck": True,
}  # fmt: skip


@pytest.mark.skipif(not TSC.exists(), reason="needs TypeScript: npm ci --prefix tests/e2e")
def test_typescript_compiles(tmp_path: Path) -> None:
    for name, block in EXAMPLES.items():
        (tmp_path / f"{name}.ts").write_text(f"{block}\nexport {{}}\n")
    # Packages are looked for beside the files, too.
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    files = [str(SCRIPTS / "documents.d.ts"), *(f"{name}.ts" for name in EXAMPLES)]
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": files}))
    compiled = subprocess.run(
        [TSC, "--project", tmp_path], capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert compiled.returncode == 0, compiled.stdout


def test_there_is_typescript_to_compile() -> None:
    assert len(EXAMPLES) > 3
