from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest

from worker.engine.backup import Backup
from worker.model import Json, Page, RunSite


def nested() -> Json:
    value: Json = None
    for _ in range(5000):
        value = [value]
    return value


def test_a_page_is_kept_as_it_came_whatever_the_name_of_its_site(tmp_path: Path) -> None:
    run_id = uuid4()
    payload: Json = {"text": "a\0\ud800", "number": float("inf")}
    Backup(tmp_path).keep(run_id, RunSite("../../etc/a b%", 2), Page(3, payload, 5))
    (path,) = tmp_path.rglob("*.json")
    assert path.name == f"{run_id}...%2F..%2Fetc%2Fa%20b%25.2.000003.json"
    assert len(path.relative_to(tmp_path).parts) == 4
    kept = json.loads(path.read_text())
    assert (kept["site"], kept["number"], kept["payload"]) == ("../../etc/a b%", 3, payload)


@pytest.mark.parametrize("payload", [date(2026, 11, 1), nested()], ids=["no JSON", "nested too deep"])
def test_a_page_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, payload: Json
) -> None:
    Backup(tmp_path).keep(uuid4(), RunSite("board", 1), Page(1, payload, 5))
    Backup(tmp_path).keep(uuid4(), RunSite("b" * 300, 1), Page(1, {}, 5))
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert not [*tmp_path.rglob("*.json")]
