"""A chaos experiment: real workers on a local stack while everything around them fails, and invariants at the end."""
