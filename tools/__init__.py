"""Python behind `scripts/` that the tests use as well."""
