"""The CPU budget: all clients share it; a request waits for it, or is rejected if it would wait too long."""

from __future__ import annotations

import asyncio

import pytest

from stream_lstm.service.http import cpu_budget
from stream_lstm.service.http.cpu_budget import (
    SAVED_SECONDS_MAX,
    SHARE,
    WAIT_SECONDS_MAX,
    BudgetExhausted,
    CpuBudget,
)


class FakeClock:
    """A clock and meter that advance only by `sleep`, or by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-6) if seconds else 0.0  # as a real one, it advances whatever is left
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def budget(clock: FakeClock) -> CpuBudget:
    return CpuBudget(clock, clock, clock.sleep)


async def test_saved_time_can_be_spent_at_once(clock: FakeClock, budget: CpuBudget) -> None:
    budget.spend(SAVED_SECONDS_MAX)
    before = clock.now
    await budget.acquire()
    assert clock.now == before
    assert budget.spent == SAVED_SECONDS_MAX


async def test_a_request_waits_until_an_overdrawn_budget_is_refilled(
    clock: FakeClock, budget: CpuBudget
) -> None:
    budget.spend(SAVED_SECONDS_MAX + 0.1)
    begun = clock.now
    await budget.acquire()
    assert clock.now - begun == pytest.approx(0.1 / SHARE)
    again = clock.now
    await budget.acquire()
    assert clock.now == again


async def test_saved_time_is_limited(clock: FakeClock, budget: CpuBudget) -> None:
    clock.now += 1e6
    budget.spend(SAVED_SECONDS_MAX)
    budget.spend(0.01)
    begun = clock.now
    await budget.acquire()
    assert clock.now - begun == pytest.approx(0.01 / SHARE, abs=1e-5)


async def test_a_block_is_charged_even_if_it_fails(clock: FakeClock, budget: CpuBudget) -> None:
    def fail() -> None:
        with budget.charged():
            clock.now += 0.25
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert budget.spent == pytest.approx(0.25)


async def test_a_request_that_would_wait_too_long_is_rejected_with_the_time_to_try_again(
    budget: CpuBudget,
) -> None:
    budget.spend(SAVED_SECONDS_MAX + WAIT_SECONDS_MAX * SHARE + 0.1)
    with pytest.raises(BudgetExhausted, match="CPU budget is used up; try again in 7 s") as caught:
        await budget.acquire()
    assert caught.value.seconds == pytest.approx(WAIT_SECONDS_MAX + 0.1 / SHARE)


async def test_simultaneous_requests_together_get_the_share(clock: FakeClock, budget: CpuBudget) -> None:
    """However many there are, none passes before the one ahead of it is charged."""
    begun = clock.now

    async def request() -> None:
        await budget.acquire()
        with budget.charged():
            clock.now += 0.1

    await asyncio.gather(*(request() for _ in range(50)))
    took = clock.now - begun
    assert budget.spent == pytest.approx(5.0)
    assert budget.spent <= SAVED_SECONDS_MAX + took * SHARE + 0.11


async def test_other_tasks_run_between_two_requests() -> None:
    budget, turns, others = CpuBudget(), [], []

    async def request(n: int) -> None:
        await budget.acquire()
        turns.append((n, len(others)))

    async def work() -> None:
        while len(turns) < 20:
            others.append(None)
            await asyncio.sleep(0)

    await asyncio.gather(*(request(n) for n in range(20)), work())
    assert [n for n, _ in turns] == list(range(20))
    assert len({worked for _, worked in turns}) == 20


async def test_a_request_that_waits_too_long_in_the_queue_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_budget, "WAIT_SECONDS_MAX", 0.05)
    monkeypatch.setattr(cpu_budget, "SHARE", 1e-9)
    budget = CpuBudget()
    budget.spend(SAVED_SECONDS_MAX + 4e-11)  # 0.04 s: the first request would pass …
    queue = [asyncio.create_task(budget.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    budget.spend(1.0)  # … but another task spends
    found = await asyncio.gather(*queue, return_exceptions=True)
    assert [type(error) for error in found] == [BudgetExhausted] * 3


async def test_time_in_which_other_threads_keep_the_machine_busy_is_not_charged(clock: FakeClock) -> None:
    budget = CpuBudget(clock, lambda: 7.0)
    with budget.charged():
        clock.now += 10.0
    assert budget.spent == 0.0
