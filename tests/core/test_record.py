"""Layout of a record: every declared column once, in the order that state files have."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core import record
from stream_lstm.core.columns import GROUPS
from stream_lstm.core.model import readout
from stream_lstm.core.trackers import accuracy, anomaly, event_time, experts, interval, scale, seasonal
from tests.core.models import KINDS, description

OWNERS = (readout, event_time, scale, interval, accuracy, experts, seasonal, anomaly)
STATES = {
    event_time: event_time.EventTime,
    scale: scale.Scale,
    accuracy: accuracy.Accuracy,
    experts: experts.Experts,
    seasonal: seasonal.DayScale,
    anomaly: anomaly.AnomalyState,
}


def test_the_order_names_every_declared_column_exactly_once() -> None:
    declared = [record.LAST_VALUE, *(column for owner in OWNERS for column in owner.COLUMNS)]
    assert sorted(column.field for column in declared) == sorted(
        name for names in record.ORDER.values() for name in names
    )
    assert len({column.name for column in declared}) == len(declared)
    assert len({column.field for column in declared}) == len(declared)
    assert list(record.DECLARED) == declared


def test_every_column_lies_in_its_span() -> None:
    assert list(record.COLUMNS) == list(GROUPS)
    for group, some in record.COLUMNS.items():
        assert {column.group for column in some} == {group}


@pytest.mark.parametrize("owner", STATES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_trackers_state_has_the_columns_that_it_declares(owner: object) -> None:
    declared = [column.name for column in owner.COLUMNS]  # type: ignore[attr-defined]
    assert declared == list(STATES[owner]._fields)  # type: ignore[index]


def test_a_freeze_keeps_what_is_normal() -> None:
    assert set(record.FROZEN_COLUMNS) == {
        *("mean", "variance", "usual_gap", "width", "mae", "naive_mae", "coverage"),
        *("model_advantage", "seasonal_advantage", "base", "unit", "tail", "shape", "excesses"),
        *("lowest", "highest", "record_rate", "recent_lowest", "recent_highest", "recent_record_rate"),
        *("run_longest", "hour_error"),
    }


def test_names_and_types_of_the_fields_are_those_of_state_files() -> None:
    """`repr` of this is in every state file; a file with another layout is not opened."""
    assert record.row_type(description(features=["a", "b"], targets=["a", "b"])).descr == [
        ("seq", "<i8"),
        ("time", "<f8"),
        *((name, "<f8", (2,)) for name in ("value", "mean", "variance", "expected", "lowest", "highest")),
        *((name, "<f8", (2,)) for name in ("near", "near_lowest", "near_highest", "base")),
        *((name, "<f4") for name in ("usual", "behind", "level", "quiet")),
        *((name, "<f4", (2,)) for name in ("spread", "width", "model_step", "repeated_step", "lead")),
        *((name, "<f4", (2,)) for name in ("lead_repeated", "erred", "moved", "covered", "tail", "records")),
        *((name, "<f4", (2,)) for name in ("near_records", "run", "run_longest", "unit")),
        *((name, "<f2", (2,)) for name in ("shape", "excesses", "jump", "hour_worst")),
        ("ltm", "<f4", (1, 8)),
        ("stm", "<f4", (1, 8)),
        ("routine", "|u1", (2, 24)),
        ("day", "|i1", (2, 288)),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_spans_are_the_same_bytes_as_the_columns(kind: str) -> None:
    spec = description(**KINDS[kind])
    heads = np.zeros(2, record.head_type(spec))
    groups = heads.view(record.group_type(spec))
    for n, (group, some) in enumerate(record.COLUMNS.items(), 1):
        groups[group] = n
        assert all((heads[column.field] == n).all() for column in some)


def test_every_column_has_a_unit() -> None:
    assert all(column.unit for column in record.DECLARED)
