"""Behaviour is as recorded in `pinned.json`, see `tests.pinned`."""

from __future__ import annotations

import pytest

from tests import pinned

RECORDED = pinned.recorded()
MACHINE = pinned.fingerprint()


@pytest.fixture(scope="module")
def everywhere() -> dict[str, str]:
    return pinned.everywhere()


@pytest.mark.parametrize("subject", sorted(RECORDED["everywhere"]))
def test_what_people_and_programs_rely_on_is_as_recorded(everywhere: dict[str, str], subject: str) -> None:
    assert everywhere[subject] == RECORDED["everywhere"][subject]


def test_every_subject_is_recorded(everywhere: dict[str, str]) -> None:
    assert set(everywhere) == set(RECORDED["everywhere"])


@pytest.mark.skipif(MACHINE not in RECORDED, reason=f"no digests are recorded for fingerprint {MACHINE}")
def test_numbers_are_as_recorded_for_this_processor() -> None:
    assert pinned.numbers() == RECORDED[MACHINE]
