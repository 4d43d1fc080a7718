"""The queues that `scripts/bench/queue` measures. Each runs in its own process, and accepts the same commands."""
