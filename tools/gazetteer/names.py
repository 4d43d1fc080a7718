"""Names and codes that postings use and no source has."""

from __future__ import annotations

LANGUAGES = (
    "en", "de", "fr", "nl", "es", "it", "pt", "pl", "sv", "da", "nb", "fi", "cs", "sk", "hu", "ro", "tr", "el", "hr",
    "sl", "et", "lv", "lt", "ca", "bg", "ru", "uk", "he", "ja", "ko", "zh", "zh-Hant", "id",
)  # fmt: skip
"""Languages of the names of countries."""

COUNTRIES = {
    "AE": ["UAE", "Emirates"],
    "BA": ["Bosnia"],
    "CD": ["DR Congo", "DRC"],
    "HK": ["Hong Kong SAR"],
    "GB": ["Great Britain", "Britain", "United Kingdom of Great Britain"],
    "IE": ["Republic of Ireland"],
    "KR": ["Korea"],
    "MK": ["Macedonia"],
    "MO": ["Macau", "Macau SAR", "Macao SAR"],
    "NL": ["Holland"],
    "US": ["United States of America", "USA"],
}
"""More names of countries."""

COUNTRY_CODES = {"GB": ["UK"], "AE": ["UAE"]}
"""Codes of countries besides those of ISO 3166-1."""

NO_NAMES = frozenset({"man", "eu", "un", "island"})
"""Names of countries and areas in some language that are too short, or mean something else."""

AREAS = {
    "001": ["Worldwide", "Global"],
    "002": [],
    "003": [],
    "005": [],
    "009": [],
    "013": [],
    "019": ["America", "North and South America"],
    "029": [],
    "035": ["South East Asia", "SEA", "ASEAN"],
    "039": [],
    "053": ["ANZ", "Australia and New Zealand"],
    "142": [],
    "145": [],
    "150": ["European Economic Area", "EEA"],
    "151": [],
    "154": [],
    "155": [],
    "202": [],
    "419": ["LATAM", "LatAm"],
    "EU": ["EU"],
    "EZ": [],
}
"""Areas of CLDR by code, and more names of them. Other areas of CLDR do not occur in postings."""

OTHER_AREAS = {
    "AMER": "019",
    "APAC": "142 009",
    "Asia Pacific": "142 009",
    "Baltics": "EE LV LT",
    "Benelux": "BE NL LU",
    "British Isles": "GB IE",
    "CEE": "151 SI HR RS BA ME MK AL EE LV LT",
    "Central and Eastern Europe": "151 SI HR RS BA ME MK AL EE LV LT",
    "Central Europe": "AT CZ DE HU LI PL SI SK CH",
    "DACH": "DE AT CH",
    "EMEA": "150 002 145 IR",
    "Europe, Middle East and Africa": "150 002 145 IR",
    "GCC": "AE BH KW OM QA SA",
    "Gulf": "AE BH KW OM QA SA",
    "Iberia": "ES PT",
    "MENA": "145 015 IR",
    "Middle East": "145 IR EG",
    "Middle East and North Africa": "145 015 IR",
    "NAM": "US CA MX",
    "NORAM": "US CA MX",
    "Nordics": "DK FI IS NO SE",
    "Nordic countries": "DK FI IS NO SE",
    "Scandinavia": "DK NO SE",
    "UK and Ireland": "GB IE",
    "UKI": "GB IE",
}
"""Areas that CLDR does not have: codes of their countries and areas."""

CODES = {
    # Old codes of ISO 3166-2 that boards still write.
    "IN": {"CT": "CG", "OR": "OD", "UT": "UK", "TG": "TS"},
    "MX": {"DF": "CMX", "CDMX": "CMX"},
    "ZA": {"GT": "GP", "NL": "KZN"},
    # Letters that abbreviate the states of Austria, and Italian abbreviations that are no first letters.
    "FR": {"75": "75C"},
    "AT": {"B": "1", "K": "2", "NÖ": "3", "OÖ": "4", "S": "5", "ST": "6", "T": "7", "V": "8", "W": "9"},
    "IT": {"EMR": "45", "FVG": "36", "TAA": "32", "VDA": "23"},
}
"""More codes of regions, and the codes of ISO 3166-2 for which they stand."""

NOT_IN_CLDR = frozenset({"IR", "MA", "UA"})
"""Countries of whose regions CLDR has no English names, or the names that their codes had formerly."""

LABELS = {
    "CH-ZH": "Zurich", "CZ-10": "Prague", "CZ-64": "South Moravia", "ES-MC": "Murcia", "ES-MD": "Madrid",
    "FR-BFC": "Bourgogne-Franche-Comté", "FR-GES": "Grand Est", "FR-NOR": "Normandy", "FR-PDL": "Pays de la Loire",
    "FR-PAC": "Provence-Alpes-Côte d'Azur", "IN-TS": "Telangana", "JP-01": "Hokkaido", "JP-26": "Kyoto",
    "JP-27": "Osaka", "JP-28": "Hyogo", "JP-39": "Kochi", "JP-44": "Oita", "MX-CMX": "Mexico City",
    "PL-26": "Świętokrzyskie", "UA-30": "Kyiv",
}  # fmt: skip
"""English names of regions that CLDR qualifies without need, or has in another language or spelling."""

CITY_NAMES = {
    "US-CA": {"San Francisco": ["SF"], "Los Angeles": ["LA"]},
    "US-DC": {"Washington": ["DC"]},
    "US-NY": {"New York City": ["NYC"]},
}
"""Short names of cities that no source has."""

CITY_REGIONS = frozenset({"DE-HB", "IN-DL", "HK", "MO"})
"""Regions and countries that count as one city, although they have other cities: Bremen, Delhi, Hong Kong, Macau."""

REGION_NAMES = {
    "BE-VLG": ["Vlaanderen", "Flemish Region", "Flandre"],
    "BE-WAL": ["Wallonie", "Walloon Region"],
    "BE-BRU": ["Brussels Region"],
    "DK-84": ["Capital Region of Denmark"],
    "ES-CT": ["Cataluña"],
    "PL-02": ["Lower Silesian"],
    "PL-04": ["Kuyavian-Pomeranian"],
    "PL-14": ["Masovian"],
    "PL-18": ["Subcarpathian"],
    "PL-22": ["Pomeranian"],
    "PL-24": ["Silesian"],
    "PL-28": ["Warmian-Masurian"],
    "PL-32": ["West Pomeranian"],
}
"""More names of regions."""

ADMIN1 = {
    "AR.01": "AR-B", "AR.07": "AR-C", "BG.42": "BG-22", "CN.20": "CN-NM", "CO.34": "CO-DC", "CZ.78": "CZ-64",
    "CZ.85": "CZ-80", "DK.18": "DK-82", "DK.19": "DK-81", "DK.21": "DK-83", "DO.34": "DO-01", "FR.75": "FR-NAQ",
    "NG.11": "NG-FC", "QA.01": "QA-DA", "SA.05": "SA-03", "SA.14": "SA-02", "TW.02": "TW-KHH", "TW.03": "TW-NWT",
    "UA.13": "UA-32", "UA.15": "UA-46",
}  # fmt: skip
"""Regions of GeoNames whose names are too different from those of ISO 3166-2."""

NO_REGIONS = frozenset({"TW.04"})
"""Regions of GeoNames that are none of ISO 3166-2: most of Taiwan. Only a city with the name of a region is in one."""

OTHER_REGIONS = {
    "GB-ENG": [
        "Bedfordshire", "Berkshire", "Cheshire", "East Midlands", "Greater Manchester", "Merseyside",
        "Northamptonshire", "South Yorkshire", "Tyne and Wear", "West Midlands", "West Yorkshire",
    ],
}  # fmt: skip
"""Counties and areas that addresses have and ISO 3166-2 does not, by the region around them."""
