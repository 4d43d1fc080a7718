from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from worker.engine.chores import SpoolRetention
from worker.engine.spool import KEPT_SECONDS, REFUSED_KEPT_SECONDS, Spool
from worker.model import FoundPage, Page, Transformed

RUN_ID = uuid4()


def page(number: int, site: str = "indeed") -> FoundPage:
    return FoundPage(site, 1, None, "test", Page(number, {}, 5), Transformed(1, (), (), {}, 0))


def test_a_page_comes_back_as_it_was(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.put(RUN_ID, page(1))
    (path,) = spool.paths(RUN_ID)
    assert path.parent.parent == tmp_path / "spool"
    assert spool.read(path) == page(1)


def test_pages_of_a_site_come_in_their_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in (10, 2, 1):
        spool.put(RUN_ID, page(number))
    spool.put(uuid4(), page(3))
    found = [spool.read(path) for path in spool.paths(RUN_ID)]
    assert found == [page(1), page(2), page(10)]


def test_the_same_page_again_is_kept_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for _ in range(2):
        spool.put(RUN_ID, page(1))
    assert len(spool.paths(RUN_ID)) == 1


def test_the_folder_is_private(tmp_path: Path) -> None:
    Spool(tmp_path).put(RUN_ID, page(1))
    assert (tmp_path / str(RUN_ID)).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["", "[]", "{", '{"site": {}}', '{"transformed": {"items": [{"colour": "red"}]}}'])
def test_files_of_another_version_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str) -> None:
    spool = Spool(tmp_path)
    spool.put(RUN_ID, page(1))
    (path,) = spool.paths(RUN_ID)
    path.write_text(content)
    assert spool.read(path) is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_only_what_is_old_is_dropped(tmp_path: Path) -> None:
    spool, old = Spool(tmp_path), uuid4()
    spool.put(RUN_ID, page(1))
    spool.put(old, page(1))
    a_day_ago = (tmp_path / str(old)).stat().st_mtime - KEPT_SECONDS - 1
    os.utime(tmp_path / str(old), (a_day_ago, a_day_ago))
    (tmp_path / "somebody's").mkdir()
    os.utime(tmp_path / "somebody's", (a_day_ago, a_day_ago))
    spool.drop_old()
    assert spool.paths(old) == []
    assert len(spool.paths(RUN_ID)) == 1
    spool.drop(RUN_ID)
    assert [left.name for left in tmp_path.iterdir()] == ["somebody's"]


async def test_a_worker_drops_what_is_old_once_an_hour(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(RUN_ID, page(1))
    a_day_ago = (tmp_path / str(RUN_ID)).stat().st_mtime - KEPT_SECONDS - 1
    os.utime(tmp_path / str(RUN_ID), (a_day_ago, a_day_ago))
    assert await SpoolRetention(spool)() == 3600
    assert spool.paths(RUN_ID) == []


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "nowhere")
    spool.drop_old()
    spool.drop(RUN_ID)
    assert spool.paths(RUN_ID) == []


def test_what_was_refused_is_kept_longer(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = spool.put_refused(RUN_ID, page(1))
    assert spool.paths(RUN_ID) == []
    assert spool.read(path) == page(1)
    kept_since = path.parent.stat().st_mtime
    for age, is_kept in ((KEPT_SECONDS + 1, True), (REFUSED_KEPT_SECONDS + 1, False)):
        os.utime(path.parent, (kept_since - age, kept_since - age))
        spool.drop_old()
        assert path.exists() == is_kept
