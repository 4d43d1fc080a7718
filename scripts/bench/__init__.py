"""Benchmarks of the worker."""
