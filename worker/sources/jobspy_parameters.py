"""What may be asked of JobSpy, and of which site.

What JobSpy knows (countries, job types) stands here as tables, because importing JobSpy costs 93 MB; a test holds
them equal to JobSpy's own.
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
"""JobSpy's own countries (`jobspy.model.Country`)."""

GLASSDOOR_COUNTRIES = frozenset({
    "argentina", "australia", "austria", "belgium", "brazil", "canada", "france", "germany", "hong kong", "india",
    "ireland", "italy", "malaysia", "mexico", "netherlands", "new zealand", "singapore", "spain", "switzerland",
    "uk", "usa", "vietnam",
})  # fmt: skip
"""`jobspy.glassdoor.constant.domains`."""

SITE_COUNTRIES: Mapping[str, frozenset[str]] = {
    "indeed": COUNTRIES,
    "glassdoor": GLASSDOOR_COUNTRIES,
    "zip_recruiter": frozenset({"usa", "canada"}),
    "naukri": frozenset({"india"}),
    "bdjobs": frozenset({"bangladesh"}),
    "hellowork": frozenset({"france"}),
}
"""The countries that a site covers, by JobSpy's README; a site without an entry covers all."""

LOCATED_BY_TEXT = frozenset({"linkedin", "zip_recruiter", "bayt"})
"""Sites that know a country only as a location's text."""


@cache
def _names_by_code() -> Mapping[str | None, str]:
    return {country_code(name): name for name in COUNTRIES.union(*SITE_COUNTRIES.values())}


def _in_jobspys_words(name: str) -> str:
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
    """What JobSpy reads of a run's parameters.

    What every source of jobs reads means here: of the countries, those that JobSpy knows, and Indeed's and Glassdoor's
    own default is usa; `is_remote` LinkedIn cannot ask for, and does not tell which jobs are not remote: its jobs are
    all kept; a `job_type` that the site cannot ask for drops the jobs that are known to be of another type.

    Attributes:
        distance_miles: Radius around `location`, in miles as JobSpy takes it; None: the site's own default.
        easy_apply: Ask for jobs with an application on the site itself.
        fetch_description: Read each job's own page for its description, one request a job. Indeed gives
            descriptions anyway.
        linkedin_company_ids: Ask LinkedIn for jobs at these companies only.
    """

    country: Annotated[str, AfterValidator(_in_jobspys_words)] | None = Field(None, min_length=2, max_length=40)
    distance_miles: int | None = Field(None, ge=0, le=500)
    easy_apply: bool = False
    fetch_description: bool = False
    linkedin_company_ids: list[_CompanyId] | None = Field(None, min_length=1, max_length=50)

    @classmethod
    def for_site(cls, site: str, parameters: Parameters) -> Self:
        """Read a run's parameters, and check that `site` covers the country.

        Raises:
            SiteError: `invalid_parameters`, with the field and what is allowed.
        """
        search = cls.read(parameters)
        covered = SITE_COUNTRIES.get(site)
        if search.country is not None and covered is not None and search.country not in covered:
            allowed = "" if covered is COUNTRIES else f"; allowed: {', '.join(sorted(covered))}"
            raise SiteError(ErrorCode.INVALID_PARAMETERS, f"country: {site} does not cover {search.country}{allowed}")
        return search
