"""When a worker is ready."""

from __future__ import annotations

from worker.engine.health import FAILING_SECONDS, LATE_SECONDS, Health

PAUSE_SECONDS = 30


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def health_at(clock: Clock) -> Health:
    return Health(PAUSE_SECONDS, clock)


def test_a_worker_is_not_ready_before_its_first_claim() -> None:
    clock = Clock()
    health = health_at(clock)
    health.call_ended("worker_status", 0.1, None)
    assert health.problem() == "no claim has succeeded yet"
    health.call_ended("worker_claim_runs", 0.1, None)
    assert health.problem() is None


def test_a_short_failure_is_ignored_and_a_long_one_reported_until_it_ends() -> None:
    clock = Clock()
    health = health_at(clock)
    health.call_ended("worker_claim_runs", 0.1, None)
    health.call_ended("worker_claim_runs", 0.1, "unreachable")
    clock.seconds += FAILING_SECONDS - 1
    health.call_ended("worker_claim_runs", 0.1, "unavailable")
    assert health.problem() is None
    clock.seconds += 1
    assert health.problem() == f"Supabase has not answered, or has refused calls, for {FAILING_SECONDS} s"
    health.call_ended("worker_heartbeat", 0.1, None)
    assert health.problem() is None


def test_a_failure_of_another_call_and_a_cancelled_one_are_no_problem() -> None:
    clock = Clock()
    health = health_at(clock)
    health.call_ended("worker_claim_runs", 0.1, None)
    health.call_ended("worker_save_pages", 0.1, "unreachable")
    health.call_ended("worker_claim_runs", 0.1, "cancelled")
    clock.seconds += FAILING_SECONDS
    assert health.problem() is None


def test_silence_is_a_problem_once_a_call_was_due() -> None:
    clock = Clock()
    health = health_at(clock)
    health.call_ended("worker_heartbeat", 0.1, None)
    clock.seconds += PAUSE_SECONDS + LATE_SECONDS
    assert health.problem() is None
    clock.seconds += 1
    assert health.problem() == "no claim and no heartbeat has succeeded for 61 s"


def test_a_worker_that_stops_is_not_ready() -> None:
    health = health_at(Clock())
    health.call_ended("worker_claim_runs", 0.1, None)
    health.stop()
    assert health.problem() == "the worker is stopping"
