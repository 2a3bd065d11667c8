"""Query parameters: parsed within their limits, and errors that name the parameter and what is allowed."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from stream_lstm.service.http.api import ENDPOINTS, LIVE
from stream_lstm.service.http.parameters import ALIASES, NAME_BYTES_MAX, InvalidParameter, Parameter, parse

COUNT = Parameter("count", "how many", 5, minimum=1, maximum=500)
STATE = Parameter("state", "which", "all", ("all", "anomalous"))
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
        (STATE, "anomalous", "anomalous"),
        (STATE, "odd", "anomalous"),
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
def test_an_allowed_value_is_parsed(parameter: Parameter, text: str | None, value: object) -> None:
    assert parameter.parse(text) == value


@pytest.mark.parametrize(
    ("parameter", "text", "problem"),
    [
        *(
            (COUNT, text, "count: must be a whole number from 1 to 500")
            for text in ("", "0", "501", "-1", "+5", " 5", "5 ", "1_0", "1.0", "1e2", "0x1", "five", "٣", "²")
        ),
        (COUNT, "9" * 5_000, "count: must be a whole number"),
        (STATE, "", "state: must be one of all, anomalous"),
        (STATE, "ODD", "state: must be one of all, anomalous"),
        (ORDER, "sideways", "order: must be one of up, down"),
        (TEXT, "ä" * (NAME_BYTES_MAX // 2) + "a", "text: is longer than 16384 bytes"),
        (NAME, None, "name: is required"),
    ],
)
def test_a_wrong_value_is_an_error_that_says_what_is_allowed(
    parameter: Parameter, text: str | None, problem: str
) -> None:
    with pytest.raises(InvalidParameter, match=problem) as caught:
        parameter.parse(text)
    assert caught.value.parameter == parameter.name


def test_all_parameters_are_parsed_and_unknown_ones_are_errors() -> None:
    assert parse([COUNT, NAME], {"name": "a"}) == {"count": 5, "name": "a"}
    with pytest.raises(InvalidParameter, match="nmae: unknown parameter; known here: count, name"):
        parse([COUNT, NAME], {"nmae": "a"})
    with pytest.raises(InvalidParameter, match="a: unknown parameter; known here: none"):
        parse([], {"a": "b"})
    with pytest.raises(InvalidParameter) as caught:
        parse([], {"a" * 10_000: ""})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("endpoint", [*ENDPOINTS.values(), LIVE], ids=lambda endpoint: endpoint.path)
def test_every_default_is_an_allowed_value(endpoint: Any) -> None:
    for parameter in endpoint.parameters:
        assert parameter.description
        if parameter.default is not None:
            assert parameter.parse(str(parameter.default)) == parameter.default
            jsonschema.validate(parameter.default, parameter.schema())


def test_former_values_are_accepted_and_not_documented() -> None:
    parameters = {parameter.name: parameter for parameter in ENDPOINTS["streams"].parameters}
    for (name, former), value in ALIASES.items():
        assert value in parameters[name].choices
        assert former not in parameters[name].choices
        assert parameters[name].parse(former) == value
