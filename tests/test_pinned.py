"""Behaviour is as recorded in `pinned.json`, see `tests.pinned`."""

from __future__ import annotations

import pytest

from tests import pinned

RECORDED = pinned.recorded()
VERSIONS = pinned.versions()


@pytest.fixture(scope="module")
def everywhere() -> dict[str, str]:
    return pinned.everywhere()


@pytest.mark.parametrize("subject", sorted(RECORDED["everywhere"]))
def test_what_people_and_programs_rely_on_is_as_recorded(everywhere: dict[str, str], subject: str) -> None:
    assert everywhere[subject] == RECORDED["everywhere"][subject]


def test_every_subject_is_recorded(everywhere: dict[str, str]) -> None:
    assert set(everywhere) == set(RECORDED["everywhere"])


@pytest.mark.skipif(VERSIONS not in RECORDED, reason=f"no worlds are recorded for {VERSIONS}")
def test_worlds_are_as_recorded_for_these_versions() -> None:
    assert pinned.worlds() == RECORDED[VERSIONS]
