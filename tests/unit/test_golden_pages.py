"""The complete result of transforming hand-made pages."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from worker.engine.read import transform
from worker.model import Page
from worker.sources.jobspy import JobSpySource

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_page_of_jobspy() -> None:
    page = Page(1, json.loads((GOLDEN / "jobspy.page.json").read_text()), 5)
    transformed = json.loads(json.dumps(asdict(transform(JobSpySource(), "indeed", page))))
    del transformed["transform_ms"]
    assert transformed == json.loads((GOLDEN / "jobspy.transformed.json").read_text())
