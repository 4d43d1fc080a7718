"""Filters and scores of creators."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sources.creator_score import WEIGHTS, Creator, Criteria, fits_activity, fits_language, language_of, score

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TIMES = st.datetimes(timezones=st.just(UTC))

CREATORS = st.builds(
    Creator,
    title=st.text(),
    description=st.text(),
    keywords=st.text(),
    country=st.none() | st.text(max_size=3),
    language=st.none() | st.text(max_size=8),
    subscribers=st.none() | st.integers(0, 10**12),
    newest_upload=st.none() | TIMES,
    upload_titles=st.none() | st.lists(st.text(), max_size=4).map(tuple),
)
WISHES = st.builds(
    Criteria,
    topic=st.text(),
    keywords=st.lists(st.text(), max_size=4).map(tuple),
    active_within_days=st.none() | st.integers(0, 10**15),
    language=st.none() | st.text(max_size=8),
)


@given(creator=CREATORS, criteria=WISHES, now=TIMES)
def test_a_score_is_from_0_to_100_and_always_the_same(creator: Creator, criteria: Criteria, now: datetime) -> None:
    found = score(creator, criteria, now)
    assert found == score(creator, criteria, now)
    assert 0 <= found.total <= 100
    assert set(found.parts) <= set(WEIGHTS)
    assert all(0 <= part <= 1 for part in found.parts.values())
    assert fits_activity(creator, criteria, now) in (True, False)
    assert fits_language(creator, criteria) in (True, False)


@given(fewer=st.integers(0, 10**8), more=st.integers(0, 10**8))
def test_more_subscribers_never_score_less(fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    small, large = (score(Creator(title="x", subscribers=count), Criteria(topic="y"), NOW) for count in (fewer, more))
    assert small.total <= large.total


@given(younger=st.integers(-5, 4000), older=st.integers(-5, 4000))
def test_an_older_upload_never_scores_more(younger: int, older: int) -> None:
    younger, older = sorted((younger, older))
    creators = [
        Creator(title="x", newest_upload=NOW - timedelta(days=age), upload_titles=("y",)) for age in (younger, older)
    ]
    new, old = (score(creator, Criteria(topic="z"), NOW).total for creator in creators)
    assert new >= old


@pytest.mark.parametrize(
    ("creator", "topic", "part"),
    [
        (Creator(title="Home Chess"), "chess", 1.0),
        (Creator(title="Home Chess"), "CHESS home", 1.0),
        (Creator(title="Chessboxing"), "chess", 0.0),
        (Creator(title="x", description="Chess."), "chess", 0.6),
        (Creator(title="x", keywords='"chess" go'), "chess go", 0.6),
        (Creator(title="Chess"), "chess tournaments", 0.5),
        (Creator(title="Chess"), "chess -boxing", 1.0),
        (Creator(title="x", upload_titles=("Chess 1", "Go", "Go 2", "Go 3")), "chess", 0.65),
        (Creator(title="x", upload_titles=("Chess 1", "Chess 2")), "chess", 1.0),
        (Creator(title="Chess", upload_titles=("Go",)), "chess", 1.0),
        (Creator(title="今日の料理チャンネル"), "料理", 1.0),
        (Creator(title="Café Über"), "cafe\u0301 ÜBER", 1.0),
    ],
)
def test_the_value_of_a_word_of_the_topic(creator: Creator, topic: str, part: float) -> None:
    assert score(creator, Criteria(topic=topic), NOW).parts["topic"] == part


def test_keywords_may_be_phrases() -> None:
    creator = Creator(title="x", description="We speak of the\nQueen's  Gambit here")
    found = score(creator, Criteria(topic="chess", keywords=("queen's gambit", "endgame")), NOW)
    assert found.parts["keywords"] == 0.3


def test_the_parts_count_by_their_weights() -> None:
    creator = Creator(title="Chess", subscribers=10_000_000, newest_upload=NOW, upload_titles=("x",))
    assert score(creator, Criteria(topic="chess", keywords=("chess",)), NOW).total == 100
    without_keyword = score(creator, Criteria(topic="chess", keywords=("go",)), NOW)
    assert without_keyword.total == 100 - WEIGHTS["keywords"] == 75
    month_ago = replace(creator, newest_upload=NOW - timedelta(days=30))
    assert score(month_ago, Criteria(topic="chess", keywords=("go",)), NOW).parts["activity"] == 0.5


def test_unknown_parts_are_left_out() -> None:
    found = score(Creator(title="Chess"), Criteria(topic="chess"), NOW)
    assert (found.total, found.parts) == (100, {"topic": 1.0})
    assert score(Creator(title="Chess"), Criteria(topic="!"), NOW).total == 0


@pytest.mark.parametrize(
    ("language", "country", "told"),
    [
        ("de", "FR", "de"),
        ("pt-BR", None, "pt"),
        ("iw", None, "he"),
        ("zxx", "JP", "ja"),
        (None, "jp", "ja"),
        (None, "CH", None),
        (None, None, None),
        ("", "", None),
    ],
)
def test_the_language(language: str | None, country: str | None, told: str | None) -> None:
    assert language_of(Creator(title="x", language=language, country=country)) == told


def test_a_wish_for_any_language_and_activity_fits_everybody() -> None:
    creator, criteria = Creator(title="x"), Criteria(topic="y")
    assert fits_language(creator, criteria)
    assert fits_activity(creator, criteria, NOW)
    assert not fits_language(creator, replace(criteria, language="en"))
    assert not fits_activity(creator, replace(criteria, active_within_days=3650), NOW)
