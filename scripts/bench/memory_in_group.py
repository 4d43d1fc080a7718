"""Enters a control group, and then becomes a worker."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    (Path(sys.argv[1]) / "cgroup.procs").write_text(str(os.getpid()))
    os.execv(sys.executable, [sys.executable, "-m", "worker", "run"])  # noqa: S606 (this interpreter)
