"""The error of the local stack."""

from __future__ import annotations


class LocalError(Exception):
    """The local stack cannot do what was requested. The message says why, and what to do about it."""
