"""Figures of the worker, measured on this machine."""
