"""Measures what is installed, and writes it to `measured.json`, from which `./scripts/docs` makes the page."""

from __future__ import annotations

from tools.dependencies.measured import FILE, measure, save

if __name__ == "__main__":
    save(measure())
    print(f"Written: {FILE}")
