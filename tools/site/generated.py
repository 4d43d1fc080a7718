"""The files of the documentation that are made from the code."""

from __future__ import annotations

from tools.benchmarks.page import benchmarks_page
from tools.dependencies.page import dependencies_page
from tools.site.functions_page import functions_page
from tools.site.limits_page import limits_page
from tools.site.navigation import llms_txt
from tools.site.settings_page import settings_page
from tools.versions.page import versions_page


def generated_files() -> dict[str, str]:
    """Return the text of each generated file by its path in the repository."""
    made = {
        "docs/settings.md": settings_page(),
        "docs/functions.md": functions_page(),
        "docs/limits.md": limits_page(),
        "docs/dependencies.md": dependencies_page(),
        "docs/versions.md": versions_page(),
        "docs/benchmarks.md": benchmarks_page(),
    }
    return made | {"llms.txt": llms_txt(made)}
