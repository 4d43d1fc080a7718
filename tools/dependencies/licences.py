"""The licence of an installed package as an SPDX expression, and which licences need an explanation."""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

PERMISSIVE = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Zlib",
    }
)  # fmt: skip
"""Licences that ask for their text and the names of the authors to be kept, and for no more."""

EXPLAINED = {
    "certifi": "Mozilla's list of certificate authorities. The MPL applies to its own files, which are used unchanged.",
    "psycopg": "Only with `[local]`. The LGPL applies to the library, which is installed as a package of its own and "
    "used unchanged. The worker itself opens no database connection.",
    "psycopg-binary": "As psycopg.",
    "psycopg-pool": "As psycopg.",
    "tqdm": "Only with `[embed]`, where Hugging Face's libraries need it. The MPL applies to its own files, which are "
    "used unchanged.",
}
"""Packages with another licence, and why it is accepted."""

_READ = {"pysocks": "BSD-3-Clause"}
"""Licences read from the text in the package, where its metadata names none."""

_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""Classifiers that name one licence; that of the BSD licences names several."""
_TITLES = {"MIT License": "MIT"}
"""Titles of licences whose whole text is in the metadata."""


def licence_of(package: str, metadata: PackageMetadata) -> str | None:
    """Return the SPDX expression of a package's licence.

    Args:
        package: The normalized name of the package.
        metadata: Its metadata.

    Returns:
        What the package states, in the canonical form; None if it states nothing that names one licence.
    """
    for field in ("License-Expression", "License"):
        stated = metadata[field].strip() if field in metadata else ""
        if expression := _expression(stated):
            return expression
        if stated and (expression := _TITLES.get(stated.splitlines()[0].strip())):
            return expression
    named = [classifier for classifier in metadata.get_all("Classifier", []) if classifier.startswith("License ::")]
    return (_CLASSIFIERS.get(named[0]) if len(named) == 1 else None) or _READ.get(package)


def problem(package: str, licence: str | None) -> str | None:
    """Return what is wrong with the licence of a package, or None.

    Args:
        package: The normalized name of the package.
        licence: Its SPDX expression; None if it is unknown.
    """
    if licence is None:
        return f"{package}: its metadata names no licence that tools/dependencies/licences.py knows"
    names = set(re.findall(r"[\w.+-]+", licence)) - {"AND", "OR", "WITH"}
    if package not in EXPLAINED and not names <= PERMISSIVE:
        return f"{package}: {licence} is not in PERMISSIVE, and EXPLAINED does not say why it is accepted"
    return None


def _expression(stated: str) -> str | None:
    try:
        return canonicalize_license_expression(stated)
    except InvalidLicenseExpression:
        return None
