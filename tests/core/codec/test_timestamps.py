"""Timestamps: numbers of any unit and ISO 8601 as epoch seconds."""

from __future__ import annotations

import math

import pytest

from stream_lstm.core.codec.timestamps import epoch_seconds
from stream_lstm.errors import PayloadError

NOW = 1.8e9


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (1_700_000_000, 1.7e9),
        (1_700_000_000.25, 1.7e9 + 0.25),
        (1_700_000_000_250, 1.7e9 + 0.25),
        (1_700_000_000_250_000, 1.7e9 + 0.25),
        (1_700_000_000_250_000_000, 1.7e9 + 0.25),
        ("1700000000.25", 1.7e9 + 0.25),
        ("2023-11-14 22:13:20", 1.7e9),
        ("2023-11-14T23:13:20+01:00", 1.7e9),
        ("20231114T221320Z", 1.7e9),
        ("2000-01-01", 946_684_800.0),
        (NOW + 86_400, NOW + 86_400),
    ],
)
def test_the_unit_of_a_number_follows_from_its_size(stamp: object, seconds: float) -> None:
    assert epoch_seconds(stamp, NOW) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "stamp", [946_684_799, NOW + 86_401, 1e300, -5, 0, math.inf, math.nan, 10**400, "", "x", None, {}]
)
def test_an_unreadable_or_absurd_time_is_rejected(stamp: object) -> None:
    with pytest.raises(PayloadError) as caught:
        epoch_seconds(stamp, NOW)
    assert caught.value.reason == "bad_time"
