"""Parameters of a search with JobSpy, and the countries of each site.

The tables copy JobSpy's own, because importing JobSpy takes 93 MB of memory. A test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Self

from pydantic import Field

from worker.model import Parameters
from worker.pipeline.places import country_code
from worker.sources.parameters import JobParameters
from worker.sources.search_location import check_covered

COUNTRIES = frozenset({
    "argentina", "australia", "austria", "bahrain", "belgium", "brazil", "canada", "chile", "china", "colombia",
    "costa rica", "czech republic", "denmark", "ecuador", "egypt", "finland", "france", "germany", "greece",
    "hong kong", "hungary", "india", "indonesia", "ireland", "israel", "italy", "japan", "kuwait", "luxembourg",
    "malaysia", "mexico", "morocco", "netherlands", "new zealand", "nigeria", "norway", "oman", "pakistan",
    "panama", "peru", "philippines", "poland", "portugal", "qatar", "romania", "saudi arabia", "singapore",
    "south africa", "south korea", "spain", "sweden", "switzerland", "taiwan", "thailand", "türkiye", "ukraine",
    "united arab emirates", "uk", "usa", "uruguay", "venezuela", "vietnam",
})  # fmt: skip
"""JobSpy's names of countries (`jobspy.model.Country`)."""

GLASSDOOR_COUNTRIES = frozenset({
    "argentina", "australia", "austria", "belgium", "brazil", "canada", "france", "germany", "hong kong", "india",
    "ireland", "italy", "malaysia", "mexico", "netherlands", "new zealand", "singapore", "spain", "switzerland",
    "uk", "usa", "vietnam",
})  # fmt: skip
"""Glassdoor's countries (`jobspy.glassdoor.constant.domains`)."""

SITE_COUNTRIES: Mapping[str, frozenset[str]] = {
    "indeed": COUNTRIES,
    "glassdoor": GLASSDOOR_COUNTRIES,
    "zip_recruiter": frozenset({"usa", "canada"}),
    "naukri": frozenset({"india"}),
    "bdjobs": frozenset({"bangladesh"}),
    "hellowork": frozenset({"france"}),
}
"""The countries that a site covers, from JobSpy's README. A site without an entry covers all."""


@cache
def country_names() -> Mapping[str | None, str]:
    """Return JobSpy's names of countries by ISO 3166-1 alpha-2 code."""
    return {country_code(name): name for name in COUNTRIES}


@cache
def _covered(site: str) -> frozenset[str] | None:
    names = SITE_COUNTRIES.get(site)
    return None if names is None else frozenset(filter(None, map(country_code, names)))


_CompanyId = Annotated[int, Field(ge=1, le=2**53)]


class JobSpyParameters(JobParameters):
    """Parameters of a search with JobSpy.

    The default country of Indeed and Glassdoor is the US. LinkedIn cannot filter by
    `is_remote` and does not report it reliably, so that all its jobs are kept. If a site cannot filter by `job_type`,
    jobs that are known to be of a different type are left out.

    Attributes:
        easy_apply: Only jobs that can be applied for on the site itself.
        fetch_description: Read the description from each job's page, with one request per job. Indeed returns
            descriptions without it.
        linkedin_company_ids: On LinkedIn, only jobs at these companies.
    """

    easy_apply: bool = False
    fetch_description: bool = False
    linkedin_company_ids: list[_CompanyId] | None = Field(None, min_length=1, max_length=50)

    @classmethod
    def for_site(cls, site: str, parameters: Parameters) -> Self:
        """Read a run's parameters, and check that `site` can search their location.

        Raises:
            SiteError: `invalid_parameters`: a parameter is invalid. The message names the field and what is allowed.
        """
        search = cls.read(parameters)
        check_covered(site, search.place, _covered(site))
        return search
