"""Locations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.places import Place, country_code, find_place, region_label

GOLDEN = {
    "Pleasant Prairie, WI, US": ("Pleasant Prairie", "WI", "US"),
    "Houston, TX, USA": ("Houston", "TX", "US"),
    "New York, NY": ("New York", "NY", "US"),
    "Austin, Texas": ("Austin", "TX", "US"),
    "Washington, DC": ("Washington", "DC", "US"),
    "123 Main St, Austin, TX 78701, US": ("Austin", "TX", "US"),
    "Houston, Harris County, TX, US": ("Houston", "TX", "US"),
    "IL, US": (None, "IL", "US"),
    "California": (None, "CA", "US"),
    "Georgia, US": (None, "GA", "US"),
    "New York, United States": ("New York", None, "US"),
    "San Juan, PR": ("San Juan", None, "PR"),
    "Toronto, ON, CA": ("Toronto", "ON", "CA"),
    "Toronto, Ontario, Canada": ("Toronto", "ON", "CA"),
    "Montréal, Québec, Canada": ("Montréal", "QC", "CA"),
    "Sydney, NSW": ("Sydney", "NSW", "AU"),
    "Sydney, New South Wales, Australia": ("Sydney", "NSW", "AU"),
    "Berlin, Germany": ("Berlin", None, "DE"),
    "Berlin, BE, DE": ("Berlin", "Berlin", "DE"),
    "Munich, Bavaria, Germany": ("Munich", "Bayern", "DE"),
    "10115 Berlin, Deutschland": ("Berlin", None, "DE"),
    "Germany, Berlin": ("Berlin", None, "DE"),
    "Greater Munich Metropolitan Area": ("Munich", None, None),
    "San Francisco Bay Area": ("San Francisco", None, None),
    "London, England, United Kingdom": ("London", "England", "GB"),
    "Shoreditch, London, England, UK": ("London", "England", "GB"),
    "Leeds, West Yorkshire, United Kingdom": ("Leeds", "West Yorkshire", "GB"),
    "London SW1A 1AA, England": ("London", "England", "GB"),
    "Bengaluru, Karnataka, India": ("Bengaluru", "Karnataka", "IN"),
    "Bengaluru, KA, IN": ("Bengaluru", "Karnataka", "IN"),
    "Lyon 3e, 69, France": ("Lyon", None, "FR"),
    "Paris, Île-de-France, France": ("Paris", "Île-de-France", "FR"),
    "Dubai, UAE": ("Dubai", None, "AE"),
    "Zürich, Schweiz": ("Zürich", None, "CH"),
    "Singapore": ("Singapore", None, "SG"),
    "US - California - San Francisco": ("San Francisco", "CA", "US"),
    "Paris": ("Paris", None, None),
    "New York": ("New York", None, None),
    "Kreuzberg, Paris": ("Kreuzberg", None, None),
    "Germany": (None, None, "DE"),
    "Remote - US": (None, None, "US"),
    "US-Remote": (None, None, "US"),
    "United States (Remote)": (None, None, "US"),
    "Anywhere in the United States": (None, None, "US"),
    "Remote in Austin, TX": ("Austin", "TX", "US"),
    "Hybrid - London": ("London", None, None),
    "Remote, OR": (None, "OR", "US"),
    "New York, NY; San Francisco, CA": (None, None, "US"),
    "New York, NY; London, UK": (None, None, None),
    "Portland, OR; Portland, ME": (None, None, "US"),
    "Austin, TX; Dallas, TX": (None, "TX", "US"),
    "Berlin, Hamburg": ("Berlin", None, None),
    "Albany, New York": ("Albany", "NY", "US"),
    "Cork, Ireland or Remote": ("Cork", None, "IE"),
    "&lt;b&gt;Oslo&lt;/b&gt;, Norway": ("Oslo", None, "NO"),
}


@pytest.mark.parametrize(("text", "place"), GOLDEN.items())
def test_what_the_text_says(text: str, place: tuple[str | None, str | None, str | None]) -> None:
    assert find_place(text) == place


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        ",",
        "Remote",
        "Hybrid",
        "Georgia",
        "Europe",
        "EMEA",
        "Worldwide",
        "Anywhere",
        "Multiple locations",
        "12345",
        "a, b, c, d, e, f, g, h, i, j",
    ],
)
def test_nothing_is_said(text: str | None) -> None:
    assert find_place(text) == Place()


@pytest.mark.parametrize(
    "text", ["Atlanta, Georgia", "Tbilisi, Georgia", "Lahore, Punjab", "St. John's, NL", "Adelaide, SA"]
)
def test_ambiguous_surroundings_are_left_open(text: str) -> None:
    assert find_place(text) == Place(city=text.partition(",")[0])


@pytest.mark.parametrize(
    ("text", "near", "place"),
    [
        ("Berlin, DE", None, ("Berlin", "DE", "US")),
        ("Berlin, DE", "DE", ("Berlin", None, "DE")),
        ("Dover, DE", "US", ("Dover", "DE", "US")),
        ("Perth, WA", "AU", ("Perth", "WA", "AU")),
        ("Toronto, CA", "CA", ("Toronto", None, "CA")),
        ("St. John's, NL", "CA", ("St. John's", "NL", "CA")),
        ("Austin, TX", "DE", ("Austin", "TX", "US")),
    ],
)
def test_site_decides_between_two_readings(text: str, near: str | None, place: tuple[str, str, str]) -> None:
    assert find_place(text, near) == place


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("us", "US"),
        ("Germany", "DE"),
        ("deutschland", "DE"),
        ("UK", "GB"),
        ("U.S.", "US"),
        ("Côte d'Ivoire", "CI"),
        ("XX", None),
        (None, None),
    ],
)
def test_country_code(text: str | None, code: str | None) -> None:
    assert country_code(text) == code


@pytest.mark.parametrize(
    ("text", "country", "label"),
    [
        ("Texas", "US", "TX"),
        ("tx", "US", "TX"),
        ("Bavaria", "DE", "Bayern"),
        ("Toscana", "IT", "Toscana"),
        ("Texas", None, "Texas"),
        (None, "US", None),
    ],
)
def test_region_label(text: str | None, country: str | None, label: str | None) -> None:
    assert region_label(text, country) == label


PIECES = st.sampled_from(
    [*GOLDEN, "DE", "CA", "Remote", "Greater", "Area", "County", "75001", "-", "/", ";", "(", ")", "or", "the"]
)


@given(
    st.lists(PIECES | st.text(max_size=10), max_size=6),
    st.sampled_from([", ", " ", "; ", " - ", "/"]),
    st.sampled_from([None, "US", "DE"]),
)
def test_any_text_gives_parts_that_are_stable(pieces: list[str], separator: str, near: str | None) -> None:
    text = separator.join(pieces)
    place = find_place(text, near)
    assert place == find_place(text, near)
    assert place.country is None or country_code(place.country) == place.country
    assert region_label(place.region, place.country) == place.region
    assert place.city is None or place.city.strip()
