"""Runs all benchmarks of `scripts/bench` one after another. Makes `docs/benchmarks.md` and its plots."""
