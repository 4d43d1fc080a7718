"""The queues that `scripts/bench/queue` measures: each in a process of its own, driven by the same commands."""
