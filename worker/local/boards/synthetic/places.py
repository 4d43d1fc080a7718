"""The countries and cities of the synthetic jobs, and which of them a location means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Country:
    """A country with listings.

    Attributes:
        code: ISO 3166-1 alpha-2.
        aliases: Other names under which people search for it.
        pay_factor: Local pay, in the local currency, for one US dollar of US pay.
        pays_monthly: Whether full-time pay is monthly.
        legal_forms: Endings of company names.
        vacancies: Number of vacancies.
    """

    code: str
    name: str
    aliases: tuple[str, ...]
    currency: str
    pay_factor: float
    pays_monthly: bool
    legal_forms: tuple[str, ...]
    vacancies: int


COUNTRIES = {
    country.code: country
    for country in (
        Country(
            "US",
            "United States",
            ("usa", "us", "america"),
            "USD",
            1.0,
            False,
            (", Inc.", " LLC", " Corp.", " Co."),
            430,
        ),
        Country("GB", "United Kingdom", ("uk", "gb", "great britain"), "GBP", 0.62, False, (" Ltd", " plc"), 80),
        Country("CA", "Canada", ("ca",), "CAD", 1.05, False, (" Inc.", " Ltd."), 60),
        Country("DE", "Germany", ("deutschland", "de"), "EUR", 0.68, False, (" GmbH", " AG", " SE"), 70),
        Country("FR", "France", ("fr",), "EUR", 0.52, False, (" SAS", " SA", " SARL"), 100),
        Country("IN", "India", ("in", "bharat"), "INR", 22.0, False, (" Pvt. Ltd.", " Limited"), 100),
        Country("BD", "Bangladesh", ("bd",), "BDT", 14.0, True, (" Ltd.", " Limited"), 75),
        Country(
            "AE",
            "United Arab Emirates",
            ("uae", "emirates"),
            "AED",
            2.6,
            True,
            (" LLC", " FZE", " Group"),
            50,
        ),
        Country("SA", "Saudi Arabia", ("ksa",), "SAR", 2.5, True, (" Co.", " Group"), 30),
        Country("EG", "Egypt", ("misr",), "EGP", 9.0, True, (" S.A.E.", " LLC"), 20),
        Country("AU", "Australia", ("au",), "AUD", 1.15, False, (" Pty Ltd",), 25),
        Country("NL", "Netherlands", ("nl", "holland"), "EUR", 0.66, False, (" B.V.",), 20),
        Country("ES", "Spain", ("españa", "es"), "EUR", 0.45, False, (" S.L.", " S.A."), 20),
        Country("IE", "Ireland", ("ie",), "EUR", 0.72, False, (" Ltd", " plc"), 15),
        Country("SG", "Singapore", ("sg",), "SGD", 1.05, True, (" Pte. Ltd.",), 15),
    )
}


@dataclass(frozen=True, slots=True)
class Place:
    """A city; without a city, a region; without both, a whole country.

    Attributes:
        region_code: The short name of the region; in France the number of the department.
        spellings: Other spellings of the city.
    """

    country: Country
    city: str | None = None
    region: str | None = None
    region_code: str | None = None
    spellings: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name with the region and the country: `Munich, Bavaria, Germany`."""
        return ", ".join(filter(None, (self.city, self.region, self.country.name)))


_CITIES: dict[str, tuple[tuple[str, str, str, tuple[str, ...]], ...]] = {
    "US": (
        ("New York", "New York", "NY", ("New York City", "NYC")),
        ("San Francisco", "California", "CA", ("San Francisco Bay Area",)),
        ("Los Angeles", "California", "CA", ()),
        ("Austin", "Texas", "TX", ()),
        ("Dallas", "Texas", "TX", ("Dallas-Fort Worth",)),
        ("Chicago", "Illinois", "IL", ()),
        ("St. Louis", "Missouri", "MO", ("Saint Louis",)),
        ("Seattle", "Washington", "WA", ()),
        ("Boston", "Massachusetts", "MA", ()),
        ("Denver", "Colorado", "CO", ()),
        ("Atlanta", "Georgia", "GA", ()),
        ("Portland", "Oregon", "OR", ()),
        ("Portland", "Maine", "ME", ()),
        ("Raleigh", "North Carolina", "NC", ("Raleigh-Durham",)),
        ("Phoenix", "Arizona", "AZ", ()),
    ),
    "GB": (
        ("London", "England", "ENG", ("Greater London", "City of London")),
        ("Manchester", "England", "ENG", ()),
        ("Newcastle upon Tyne", "England", "ENG", ("Newcastle",)),
        ("Edinburgh", "Scotland", "SCT", ()),
        ("Cardiff", "Wales", "WLS", ()),
    ),
    "CA": (
        ("Toronto", "Ontario", "ON", ("Greater Toronto Area",)),
        ("Vancouver", "British Columbia", "BC", ()),
        ("Montréal", "Quebec", "QC", ("Montreal",)),
    ),
    "DE": (
        ("Berlin", "Berlin", "BE", ()),
        ("Munich", "Bavaria", "BY", ("München",)),
        ("Cologne", "North Rhine-Westphalia", "NW", ("Köln",)),
        ("Frankfurt am Main", "Hesse", "HE", ("Frankfurt", "Frankfurt/Main")),
    ),
    "FR": (
        ("Paris", "Île-de-France", "75", ("Paris 9e",)),
        ("Lyon", "Auvergne-Rhône-Alpes", "69", ("Lyon 3e",)),
        ("Nantes", "Pays de la Loire", "44", ()),
        ("Toulouse", "Occitanie", "31", ()),
        ("Saint-Étienne", "Auvergne-Rhône-Alpes", "42", ("St Etienne",)),
    ),
    "IN": (
        ("Bengaluru", "Karnataka", "KA", ("Bangalore",)),
        ("Mumbai", "Maharashtra", "MH", ("Bombay",)),
        ("Pune", "Maharashtra", "MH", ()),
        ("Hyderabad", "Telangana", "TG", ()),
        ("Gurugram", "Haryana", "HR", ("Gurgaon",)),
    ),
    "BD": (
        ("Dhaka", "Dhaka Division", "C", ("ঢাকা",)),
        ("Gazipur", "Dhaka Division", "C", ()),
        ("Chattogram", "Chattogram Division", "B", ("Chittagong",)),
        ("Sylhet", "Sylhet Division", "G", ()),
    ),
    "AE": (("Dubai", "Dubai", "DU", ()), ("Abu Dhabi", "Abu Dhabi", "AZ", ())),
    "SA": (("Riyadh", "Riyadh Province", "01", ()), ("Jeddah", "Makkah Province", "02", ("Jiddah",))),
    "EG": (("Cairo", "Cairo Governorate", "C", ()), ("Alexandria", "Alexandria Governorate", "ALX", ())),
    "AU": (
        ("Sydney", "New South Wales", "NSW", ()),
        ("Melbourne", "Victoria", "VIC", ()),
        ("Brisbane", "Queensland", "QLD", ()),
    ),
    "NL": (
        ("Amsterdam", "North Holland", "NH", ()),
        ("The Hague", "South Holland", "ZH", ("Den Haag", "'s-Gravenhage")),
    ),
    "ES": (
        ("Madrid", "Community of Madrid", "MD", ()),
        ("Barcelona", "Catalonia", "CT", ()),
        ("A Coruña", "Galicia", "GA", ("La Coruña",)),
    ),
    "IE": (("Dublin", "County Dublin", "D", ()), ("Cork", "County Cork", "CO", ())),
    "SG": (("Singapore", "Singapore", "SG", ()),),
}

CITIES = tuple(Place(COUNTRIES[code], *city) for code, cities in _CITIES.items() for city in cities)
REGIONS = tuple(dict.fromkeys(Place(city.country, region=city.region, region_code=city.region_code) for city in CITIES))
WHOLE_COUNTRIES = {code: Place(country) for code, country in COUNTRIES.items()}
PLACES = (*CITIES, *REGIONS, *WHOLE_COUNTRIES.values())


def is_in(place: Place, location: str) -> bool:
    """Return whether every comma-separated part of `location` names the place's city, region or country."""
    own = (place.city, *place.spellings)
    return all(part in _folded(*own, *_around(place)) for part in _parts(location))


def find_places(location: str) -> list[Place]:
    """Return the cities, then the regions, then the countries that a location may mean."""
    first, *rest = _parts(location) or [""]

    def is_meant(place: Place) -> bool:
        country = (place.country.name, *place.country.aliases)
        region = (place.region, place.region_code)
        own = (place.city, *place.spellings) if place.city else region if place.region else country
        return first in _folded(*own) and all(part in _folded(*_around(place)) for part in rest)

    return [place for place in PLACES if is_meant(place)]


def _parts(location: str) -> list[str]:
    return [part.strip().casefold() for part in location.split(",") if part.strip()]


def _around(place: Place) -> tuple[str | None, ...]:
    return (place.region, place.region_code, place.country.name, *place.country.aliases)


def _folded(*names: str | None) -> frozenset[str]:
    return frozenset(name.casefold() for name in names if name)
