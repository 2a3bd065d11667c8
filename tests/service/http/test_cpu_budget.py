"""What looking costs is paid for, by all from one purse; who must wait for long is sent away."""

from __future__ import annotations

import asyncio

import pytest

from stream_lstm.service.http import cpu_budget as purse_module
from stream_lstm.service.http.cpu_budget import (
    PATIENCE_SECONDS,
    SAVED_SECONDS_MAX,
    SHARE,
    BudgetExhausted,
    CpuBudget,
)


class Held:
    """A clock that goes on only when it is told to, and a sleep that tells it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self._sleep = asyncio.sleep
        monkeypatch.setattr(purse_module.asyncio, "sleep", self.sleep)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await self._sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


async def test_what_is_saved_can_be_spent_at_once(clock: Held) -> None:
    budget = CpuBudget(clock, clock)
    budget.spend(SAVED_SECONDS_MAX)
    assert budget.owed_seconds == 0.0
    before = clock.now
    await budget.afford()
    assert clock.now == before
    assert budget.spent == SAVED_SECONDS_MAX


async def test_who_comes_when_it_is_empty_waits_as_long_as_it_takes_to_fill(clock: Held) -> None:
    budget = CpuBudget(clock, clock)
    budget.spend(SAVED_SECONDS_MAX + 0.1)
    begun = clock.now
    await budget.afford()
    assert clock.now - begun == pytest.approx(0.1 / SHARE)
    assert budget.owed_seconds == 0.0


async def test_no_more_is_saved_than_a_bound(clock: Held) -> None:
    budget = CpuBudget(clock, clock)
    clock.now += 1e6
    budget.spend(SAVED_SECONDS_MAX)
    budget.spend(0.01)
    assert budget.owed_seconds == pytest.approx(0.01 / SHARE)


async def test_what_is_done_inside_is_taken_out_even_where_it_fails(clock: Held) -> None:
    budget = CpuBudget(clock, clock)

    def fail() -> None:
        with budget.spending():
            clock.now += 0.25
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert budget.spent == pytest.approx(0.25)


async def test_who_would_wait_too_long_is_told_when_to_come_again(clock: Held) -> None:
    budget = CpuBudget(clock, clock)
    budget.spend(SAVED_SECONDS_MAX + PATIENCE_SECONDS * SHARE + 0.1)
    with pytest.raises(BudgetExhausted, match="try again in 7 s") as caught:
        await budget.afford()
    assert caught.value.seconds == pytest.approx(PATIENCE_SECONDS + 0.1 / SHARE)


async def test_all_who_come_at_once_together_get_their_share(clock: Held) -> None:
    """However many come at once: none passes while another's work is not paid for."""
    budget, begun = CpuBudget(clock, clock), clock.now

    async def ask() -> None:
        await budget.afford()
        with budget.spending():
            clock.now += 0.1

    await asyncio.gather(*(ask() for _ in range(50)))
    took = clock.now - begun
    assert budget.spent == pytest.approx(5.0)
    assert budget.spent <= SAVED_SECONDS_MAX + took * SHARE + 0.11


async def test_others_have_their_turn_between_two_who_ask() -> None:
    budget, turns, others = CpuBudget(), [], []

    async def ask(n: int) -> None:
        await budget.afford()
        turns.append((n, len(others)))

    async def work() -> None:
        while len(turns) < 20:
            others.append(None)
            await asyncio.sleep(0)

    await asyncio.gather(*(ask(n) for n in range(20)), work())
    assert [n for n, _ in turns] == list(range(20))
    assert len({worked for _, worked in turns}) == 20


async def test_who_stands_in_the_queue_for_too_long_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purse_module, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(purse_module, "SHARE", 1e-9)
    budget = CpuBudget()
    budget.spend(SAVED_SECONDS_MAX + 4e-11)  # 0.04 s: the first would be served …
    queue = [asyncio.create_task(budget.afford()) for _ in range(3)]
    await asyncio.sleep(0)
    budget.spend(1.0)  # … but somebody spends
    found = await asyncio.gather(*queue, return_exceptions=True)
    assert [type(error) for error in found] == [BudgetExhausted] * 3


async def test_who_looks_does_not_pay_for_others_who_keep_the_machine_busy(clock: Held) -> None:
    budget = CpuBudget(clock, lambda: 7.0)
    with budget.spending():
        clock.now += 10.0
    assert budget.spent == 0.0
