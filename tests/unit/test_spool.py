from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.spool import KEPT_SECONDS, REFUSED_KEPT_SECONDS, Spool
from worker.model import FoundPage, Item, ItemError, Page, Progress, RunSite, Transformed

RUN_ID = uuid4()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
found_items = st.builds(
    Item,
    external_id=st.text(),
    title=st.text(),
    url=st.text(),
    salary_min=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    data=st.dictionaries(st.text(), json_values),
)
item_errors = st.builds(
    ItemError, index=st.none() | st.integers(0, 99), type=st.text(), message=st.text(), raw=json_values
)
transforms = st.builds(
    Transformed,
    version=st.integers(1),
    items=st.lists(found_items, max_size=3).map(tuple),
    errors=st.lists(item_errors, max_size=3).map(tuple),
    completeness=st.dictionaries(st.text(), st.floats(0, 1)),
    transform_ms=st.integers(0),
)
found_pages = st.builds(
    FoundPage,
    site=st.builds(
        RunSite,
        site=st.text(min_size=1, max_size=20),
        attempt=st.integers(1, 20),
        account=st.none() | st.text(),
        cursor=json_values,
    ),
    source=st.text(),
    page=st.builds(
        Page,
        number=st.integers(1, 10_000),
        payload=json_values,
        response_ms=st.integers(0),
        cursor=json_values,
        is_last=st.booleans(),
    ),
    transformed=transforms,
    progress=st.builds(
        Progress, step=st.text(), current=st.none() | st.integers(), details=st.dictionaries(st.text(), json_values)
    ),
)


def page(number: int, site: str = "indeed") -> FoundPage:
    return FoundPage(RunSite(site, 1), "test", Page(number, {}, 5), Transformed(1, (), (), {}, 0))


@given(found_pages)
def test_a_page_comes_back_as_it_was(found: FoundPage) -> None:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool")
        spool.put(RUN_ID, found)
        (path,) = spool.paths(RUN_ID)
        assert path.parent.parent == Path(folder) / "spool"
        assert spool.read(path) == found


def test_a_page_of_an_older_version_is_read_as_one_that_cannot_be_gone_on_after(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(RUN_ID, page(1))
    (path,) = spool.paths(RUN_ID)
    kept = json.loads(path.read_text())
    del kept["progress"], kept["page"]["cursor"], kept["page"]["is_last"]
    kept["site"] = {"site": "indeed", "attempt": 1}
    path.write_text(json.dumps(kept))
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


def test_nobody_else_may_look(tmp_path: Path) -> None:
    Spool(tmp_path).put(RUN_ID, page(1))
    assert (tmp_path / str(RUN_ID)).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["", "[]", "{", '{"site": {}}', '{"transformed": {"items": [{"colour": "red"}]}}'])
def test_what_another_version_wrote_is_none(tmp_path: Path, content: str) -> None:
    spool = Spool(tmp_path)
    spool.put(RUN_ID, page(1))
    (path,) = spool.paths(RUN_ID)
    path.write_text(content)
    assert spool.read(path) is None


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
