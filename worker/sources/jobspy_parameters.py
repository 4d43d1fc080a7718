"""Parameters of a search with JobSpy, and the countries of each site.

The tables copy JobSpy's own, because importing JobSpy takes 93 MB of memory. A test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Self

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from worker.errors import ErrorCode, SiteError
from worker.model import Parameters
from worker.pipeline.places import country_code
from worker.sources.parameters import JobParameters

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

COUNTRY_IN_LOCATION = frozenset({"linkedin", "zip_recruiter", "bayt"})
"""Sites without a parameter for the country: it is sent as the location."""


@cache
def _names_by_code() -> Mapping[str | None, str]:
    return {country_code(name): name for name in COUNTRIES.union(*SITE_COUNTRIES.values())}


def _jobspy_country(name: str) -> str:
    country = _names_by_code().get(country_code(name))
    if country is None:
        raise PydanticCustomError(
            "country",
            "JobSpy does not know '{name}'; allowed: countries such as germany, usa, united arab emirates",
            {"name": name},
        )
    return country


_CompanyId = Annotated[int, Field(ge=1, le=2**53)]


class JobSpyParameters(JobParameters):
    """Parameters of a search with JobSpy.

    `country` must be one that JobSpy knows; the default of Indeed and Glassdoor is usa. LinkedIn cannot filter by
    `is_remote` and does not report it reliably, so that all its jobs are kept. If a site cannot filter by `job_type`,
    jobs that are known to be of a different type are left out.

    Attributes:
        country: JobSpy's name of a country; a name or an ISO code is converted to it.
        easy_apply: Only jobs that can be applied for on the site itself.
        fetch_description: Read the description from each job's page, with one request per job. Indeed returns
            descriptions without it.
        linkedin_company_ids: On LinkedIn, only jobs at these companies.
    """

    country: Annotated[str, AfterValidator(_jobspy_country)] | None = Field(None, min_length=2, max_length=40)
    easy_apply: bool = False
    fetch_description: bool = False
    linkedin_company_ids: list[_CompanyId] | None = Field(None, min_length=1, max_length=50)

    @classmethod
    def for_site(cls, site: str, parameters: Parameters) -> Self:
        """Read a run's parameters, and check that `site` covers the country.

        Raises:
            SiteError: `invalid_parameters`: a parameter is invalid. The message names the field and what is allowed.
        """
        search = cls.read(parameters)
        covered = SITE_COUNTRIES.get(site)
        if search.country is not None and covered is not None and search.country not in covered:
            allowed = "" if covered is COUNTRIES else f"; allowed: {', '.join(sorted(covered))}"
            raise SiteError(ErrorCode.INVALID_PARAMETERS, f"country: {site} does not cover {search.country}{allowed}")
        return search
