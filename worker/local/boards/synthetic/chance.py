"""Draws whether something happens."""

from __future__ import annotations

import random


def happens(rng: random.Random, probability: float) -> bool:
    """Return whether something of this probability, from 0 to 1, happens."""
    return rng.random() < probability
