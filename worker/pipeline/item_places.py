"""Where is a job? In the places that its record names, or else in those of its location."""

from __future__ import annotations

import re
from dataclasses import replace

from worker.model import Item, Place
from worker.pipeline.places import MAX_PLACES, complete, country_code, find_place, find_places, region_name
from worker.pipeline.text import clean_line
from worker.pipeline.urls import host_of

_COUNTRY_BEFORE_SITE = re.compile(r"([a-z]{2})\.(?:glassdoor|indeed|jooble|linkedin|talent)\.(?:com|org)")
_COUNTRY_AFTER_SITE = re.compile(r"(?:[a-z]{2,3}\.)?(?:glassdoor|indeed|linkedin)\.(?:com?\.)?([a-z]{2})")
_SITES_OF_A_COUNTRY = {"arbeitnow.com": "DE", "bdjobs.com": "BD", "hellowork.com": "FR", "naukri.com": "IN"}


def site_country(url: str) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of the country of a board, by its host (`de.indeed.com`); None: of none."""
    host = host_of(url)
    if match := _COUNTRY_AFTER_SITE.fullmatch(host) or _COUNTRY_BEFORE_SITE.fullmatch(host):
        return country_code(match[1])
    return _SITES_OF_A_COUNTRY.get(".".join(host.rsplit(".", 2)[-2:]))


def item_places(item: Item, url: str) -> tuple[Place, tuple[Place, ...]]:
    """Return the place of a job, and all its places. Idempotent.

    The first is only what is certain: `find_place`. The fields of the item come before what its location says. If it
    has places already, nothing is taken from its location.

    Args:
        item: A job as the source parsed it, or a normalized one.
        url: Its address.
    """
    near, named = site_country(url), country_code(item.country)
    if item.places:
        own = Place(clean_line(item.city), region_name(item.region, named), named)
        return own, tuple(dict.fromkeys(complete(_clean(place), near) for place in item.places[:MAX_PLACES]))
    found = find_place(item.location, near, named)
    country = named or found.country
    own = Place(clean_line(item.city), region_name(item.region, country))
    place = Place(own.city or found.city, own.region or found.region, country)
    places = find_places(item.location, near, named)
    if len(places) <= 1 and (own != Place() or (place != Place() and not places)):
        places = (complete(place, near),)
    return place, places


def _clean(place: Place) -> Place:
    country = country_code(place.country)
    region = region_name(place.region, country)
    return replace(place, city=clean_line(place.city), region=region, country=country)
