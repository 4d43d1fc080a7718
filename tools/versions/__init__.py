"""Tries the package with each Python and with the least and the newest packages. Makes `docs/versions.md`."""
