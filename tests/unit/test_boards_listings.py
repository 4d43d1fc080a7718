"""What the played boards list, and how it is searched."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.local.boards.sites.search import Search
from worker.local.boards.synthetic.jobs import Listing, Vacancy, Workplace, words
from worker.local.boards.synthetic.listings import generate_listings
from worker.local.boards.synthetic.places import PLACES, Place, find_places, is_in

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@cache
def listings(seed: int = 1) -> tuple[Listing, ...]:
    return generate_listings(seed, NOW)


@cache
def vacancies() -> tuple[Vacancy, ...]:
    return tuple({listing.vacancy.number: listing.vacancy for listing in listings()}.values())


def test_a_seed_gives_the_same_listings_every_time() -> None:
    assert generate_listings(1, NOW) == listings(1)
    assert generate_listings(2, NOW) != listings(1)


def test_only_dates_depend_on_the_time() -> None:
    later = generate_listings(1, NOW + timedelta(days=3))
    assert [listing.id for listing in later] == [listing.id for listing in listings()]
    assert [listing.title for listing in later] == [listing.title for listing in listings()]


def test_vacancies_are_many_and_distinct() -> None:
    assert len(vacancies()) >= 1000
    assert len({(vacancy.title, vacancy.company, vacancy.place) for vacancy in vacancies()}) == len(vacancies())
    assert len({(listing.site, listing.id) for listing in listings()}) == len(listings())


def test_vacancies_vary() -> None:
    pays = [vacancy.pay for vacancy in vacancies() if vacancy.pay]
    assert len({pay.interval for pay in pays}) == 5
    assert len({pay.currency for pay in pays}) >= 8
    assert {None} < {pay.maximum for pay in pays}
    assert {vacancy.workplace for vacancy in vacancies()} == set(Workplace)
    assert len({vacancy.job_type for vacancy in vacancies()}) == 7
    assert len({vacancy.field.name for vacancy in vacancies()}) >= 12
    assert len({vacancy.country.code for vacancy in vacancies()}) >= 15
    assert any("é" in vacancy.title.lower() for vacancy in vacancies())
    assert sum("@" in (vacancy.description or "") for vacancy in vacancies()) >= 100


@pytest.mark.parametrize("field", ["company", "place", "pay", "description"])
def test_some_vacancies_lack_a_field(field: str) -> None:
    missing = sum(getattr(vacancy, field) is None for vacancy in vacancies())
    assert 10 <= missing <= len(vacancies()) / 2


def test_descriptions_are_as_long_as_real_ones() -> None:
    lengths = sorted(len(vacancy.description) for vacancy in vacancies() if vacancy.description)
    assert lengths[0] > 600
    assert lengths[len(lengths) // 2] > 2000


def test_pay_is_a_range_that_rises() -> None:
    for vacancy in vacancies():
        if vacancy.pay and vacancy.pay.maximum is not None:
            assert 0 < vacancy.pay.minimum <= vacancy.pay.maximum


def test_listings_are_of_the_last_thirty_days() -> None:
    ages = [NOW - listing.posted for listing in listings()]
    assert min(ages) >= timedelta(0)
    assert max(ages) <= timedelta(days=30)
    assert max(ages) - min(ages) > timedelta(days=25)


def test_one_job_is_listed_on_several_boards_in_several_spellings() -> None:
    by_vacancy: dict[int, list[Listing]] = defaultdict(list)
    for listing in listings():
        by_vacancy[listing.vacancy.number].append(listing)
    repeated = [group for group in by_vacancy.values() if len(group) > 1]
    assert len(repeated) >= 500
    assert all(len({listing.site for listing in group}) == len(group) for group in repeated)
    for field in ("title", "company", "city"):
        assert sum(len({getattr(listing, field) for listing in group}) > 1 for group in repeated) >= 50


def test_some_jobs_share_an_advertisement_but_not_a_place() -> None:
    by_description: dict[str, set[object]] = defaultdict(set)
    for vacancy in vacancies():
        if vacancy.description:
            by_description[vacancy.description].add(vacancy.place)
    assert sum(len(places) > 1 for places in by_description.values()) >= 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Senior Software Engineers", {"senior", "software", "engineer"}),
        ("C++ / C#", {"c++", "c#"}),
        ("Développeur à Saint-Étienne", {"developpeur", "a", "saint", "etienne"}),
        ("BUS iOS gas", {"bus", "ios", "gas"}),
        ("  ", set()),
    ],
)
def test_words(text: str, expected: set[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_do_not_depend_on_case_or_order(text: str) -> None:
    assert words(text) == words(f"{text} {text}")
    assert words(text.casefold()) == words(text)


def test_every_word_of_a_term_must_occur() -> None:
    found = Search(term="nurses Patient care").run(listings(), NOW)
    assert found
    assert all({"nurse", "patient", "care"} <= listing.words for listing in found)
    assert Search(term="nurse xylophonist").run(listings(), NOW) == []


def test_titles_with_the_term_come_first() -> None:
    hits = ["manager" in listing.title_words for listing in Search(term="manager").run(listings(), NOW)]
    assert True in hits
    assert False in hits
    assert hits == sorted(hits, reverse=True)


@pytest.mark.parametrize(
    ("location", "city"),
    [
        ("New York", "New York"),
        ("NYC", "New York"),
        ("new york city, ny, USA", "New York"),
        ("Munich, Germany", "Munich"),
        ("München", "Munich"),
        ("Portland, OR", "Portland"),
        ("Dubai, UAE", "Dubai"),
    ],
)
def test_a_city_is_found_under_its_names(location: str, city: str) -> None:
    places = find_places(location)
    assert places[0].city == city
    found = Search(location=location).run(listings(), NOW)
    assert found
    assert all(listing.place in places for listing in found if listing.place and listing.place.city)


def test_two_cities_of_one_name_are_distinguished() -> None:
    assert [place.region_code for place in find_places("Portland")] == ["OR", "ME"]
    assert [place.region_code for place in find_places("Portland, Maine")] == ["ME"]


def test_regions_and_countries_are_places() -> None:
    assert [(place.city, place.region) for place in find_places("Texas")] == [(None, "Texas")]
    (country,) = find_places("united kingdom")
    assert (country.city, country.region, country.country.code) == (None, None, "GB")
    found = Search(location="Texas").run(listings(), NOW)
    assert {listing.place.city for listing in found if listing.place} == {"Austin", "Dallas"}


@pytest.mark.parametrize("location", ["Atlantis", "Austin, Bavaria", "nowhere at all", ","])
def test_an_unknown_location_is_no_place(location: str) -> None:
    assert find_places(location) == []


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_found_under_its_full_name(place: Place) -> None:
    name = ", ".join(part for part in (place.city, place.region, place.country.name) if part)
    assert place in find_places(name)
    assert is_in(place, name)


def test_remote_is_a_location() -> None:
    found = Search(location="Remote").run(listings(), NOW)
    assert found
    assert all(listing.vacancy.workplace is Workplace.REMOTE for listing in found)


def test_newest_first() -> None:
    found = Search(term="engineer", newest_first=True).run(listings(), NOW)
    dates = [listing.posted for listing in found]
    assert dates == sorted(dates, reverse=True)
