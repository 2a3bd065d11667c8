"""Every parameter is there, known, and within its bounds; or it is said what it may be."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from stream_lstm.service.http.api import ENDPOINTS, LIVE
from stream_lstm.service.http.parameters import NAME_BYTES_MAX, InvalidParameter, Parameter, read

COUNT = Parameter("count", "how many", 5, least=1, most=500)
STATE = Parameter("state", "which", "all", ("all", "odd"))
ORDER = Parameter("order", "either way", "", ("", "up", "down"))
TEXT = Parameter("text", "anything", "")
NAME = Parameter("name", "whose")


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (COUNT, None, 5),
        (COUNT, "1", 1),
        (COUNT, "500", 500),
        (COUNT, "007", 7),
        (STATE, None, "all"),
        (STATE, "odd", "odd"),
        (ORDER, None, ""),
        (ORDER, "", ""),
        (TEXT, None, ""),
        (TEXT, "", ""),
        (TEXT, "ä" * (NAME_BYTES_MAX // 2), "ä" * (NAME_BYTES_MAX // 2)),
        (TEXT, "\udcff", "\udcff"),
        (NAME, "", ""),
        (NAME, "<b>'\"\u202e\0", "<b>'\"\u202e\0"),
    ],
)
def test_what_may_be_asked_is_read(parameter: Parameter, text: str | None, value: object) -> None:
    assert parameter.read(text) == value


@pytest.mark.parametrize(
    ("parameter", "text", "problem"),
    [
        *(
            (COUNT, text, "count: must be a whole number from 1 to 500")
            for text in ("", "0", "501", "-1", "+5", " 5", "5 ", "1_0", "1.0", "1e2", "0x1", "five", "٣", "²")
        ),
        (COUNT, "9" * 5_000, "count: must be a whole number"),
        (STATE, "", "state: must be one of all, odd"),
        (STATE, "ODD", "state: must be one of all, odd"),
        (ORDER, "sideways", "order: must be one of up, down"),
        (TEXT, "ä" * (NAME_BYTES_MAX // 2) + "a", "text: is longer than 16384 bytes"),
        (NAME, None, "name: must be given"),
    ],
)
def test_what_may_not_is_refused(parameter: Parameter, text: str | None, problem: str) -> None:
    with pytest.raises(InvalidParameter, match=problem) as caught:
        parameter.read(text)
    assert caught.value.parameter == parameter.name


def test_all_parameters_are_read_and_no_others_taken() -> None:
    assert read([COUNT, NAME], {"name": "a"}) == {"count": 5, "name": "a"}
    with pytest.raises(InvalidParameter, match="nmae: is not a parameter here; there are count, name"):
        read([COUNT, NAME], {"nmae": "a"})
    with pytest.raises(InvalidParameter, match="a: is not a parameter here; there are none"):
        read([], {"a": "b"})
    with pytest.raises(InvalidParameter) as caught:
        read([], {"a" * 10_000: ""})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("endpoint", [*ENDPOINTS.values(), LIVE], ids=lambda endpoint: endpoint.path)
def test_what_is_taken_if_a_parameter_is_left_out_may_be_asked_for(endpoint: Any) -> None:
    for parameter in endpoint.parameters:
        assert parameter.about
        if parameter.default is not None:
            assert parameter.read(str(parameter.default)) == parameter.default
            jsonschema.validate(parameter.default, parameter.schema())
