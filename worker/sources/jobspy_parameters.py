"""What may be asked of JobSpy, and of which site.

What JobSpy knows (countries, job types) stands here as tables, because importing JobSpy costs 93 MB; a test holds
them equal to JobSpy's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from worker.model import ErrorCode, Parameters, SiteError

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

COUNTRY_ALIASES = {
    "czechia": "czech republic",
    "turkey": "türkiye",
    "uae": "united arab emirates",
    "united kingdom": "uk",
    "us": "usa",
    "united states": "usa",
}
"""Other names of them (`jobspy.model.country_aliases`)."""

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


def _as_stored(value: Any) -> Any:
    """JSON has one type of number: what the database takes for the integer 20 may be written 20.0."""
    if isinstance(value, list):
        return [_as_stored(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known_country(name: str) -> str:
    country = COUNTRY_ALIASES.get(name.lower(), name.lower())
    if country not in COUNTRIES and not any(country in covered for covered in SITE_COUNTRIES.values()):
        raise PydanticCustomError(
            "country",
            "JobSpy does not know '{name}'; allowed: English names, such as germany, usa, united arab emirates",
            {"name": name},
        )
    return country


_SiteName = Annotated[str, Field(min_length=1, max_length=40)]
_CompanyId = Annotated[int, Field(ge=1, le=2**53)]


class JobSearchParameters(BaseModel):
    """A run's parameters, as the database stores them.

    Attributes:
        sites: The sites to search, also those of other sources; None: the database's default.
        search_term: What to search for, in the site's own query language.
        location: City, region or country, as one would type it on the site.
        country: English name, in any case; None: each site's own default (Indeed and Glassdoor: usa).
        distance_miles: Radius around `location`, in miles as JobSpy takes it; None: the site's own default.
        is_remote: Ask for remote jobs only. LinkedIn cannot, and does not tell which jobs are not remote: its
            jobs are all kept.
        job_type: Ask for one type only. Where the site cannot, jobs known to be of another type are dropped.
        easy_apply: Ask for jobs with an application on the site itself.
        results_wanted: Jobs per site.
        hours_old: Greatest age of a posting in hours; None: any.
        fetch_description: Read each job's own page for its description, one request a job. Indeed gives
            descriptions anyway.
        linkedin_company_ids: Ask LinkedIn for jobs at these companies only.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, str_strip_whitespace=True)

    sites: list[_SiteName] | None = Field(None, min_length=1, max_length=20)
    search_term: str = Field(min_length=1, max_length=200)
    location: str | None = Field(None, min_length=1, max_length=200)
    country: Annotated[str, AfterValidator(_known_country)] | None = Field(None, max_length=40)
    distance_miles: int | None = Field(None, ge=0, le=500)
    is_remote: bool = False
    job_type: (
        Literal["fulltime", "parttime", "contract", "temporary", "internship", "perdiem", "other", "volunteer"] | None
    ) = None
    easy_apply: bool = False
    results_wanted: int = Field(20, ge=1, le=1000)
    hours_old: int | None = Field(None, ge=1, le=8760)
    fetch_description: bool = False
    linkedin_company_ids: list[_CompanyId] | None = Field(None, min_length=1, max_length=50)

    @classmethod
    def for_site(cls, site: str, parameters: Parameters) -> Self:
        """Check a run's parameters, and that `site` covers the country.

        Raises:
            SiteError: `invalid_parameters`, with the field and what is allowed.
        """
        try:
            search = cls.model_validate(
                {name: _as_stored(value) for name, value in parameters.items() if value is not None}
            )
        except ValidationError as error:
            raise SiteError(ErrorCode.INVALID_PARAMETERS, cls._describe(error)) from None
        covered = SITE_COUNTRIES.get(site)
        if search.country is not None and covered is not None and search.country not in covered:
            allowed = "" if covered is COUNTRIES else f"; allowed: {', '.join(sorted(covered))}"
            raise SiteError(ErrorCode.INVALID_PARAMETERS, f"country: {site} does not cover {search.country}{allowed}")
        return search

    @classmethod
    def _describe(cls, error: ValidationError) -> str:
        details = error.errors(include_url=False)
        unknown = [str(detail["loc"][0]) for detail in details if detail["type"] == "extra_forbidden"]
        messages = [
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
            for detail in details
            if detail["type"] != "extra_forbidden"
        ]
        if unknown:
            messages.append(f"{', '.join(unknown)}: unknown; allowed: {', '.join(cls.model_fields)}")
        return "; ".join(messages)
