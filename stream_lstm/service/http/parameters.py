"""Query parameters of the API: their types, limits and defaults, and the errors of wrong ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NAME_BYTES_MAX = 16_384  # longer than any stream's name, and a request line (`server.HEADER_BYTES_MAX`)
NUMBER_DIGITS_MAX = 20  # beyond any limit, and no time is lost on parsing longer ones
UNKNOWN_NAME_MAX = 100  # characters of an unknown parameter's name that its error repeats
# Former values, still accepted: (parameter, value) to value.
ALIASES = {("state", "odd"): "anomalous", ("sort", "odd"): "anomaly"}


class InvalidParameter(Exception):
    """A query parameter is missing, unknown or wrong.

    Args:
        parameter: its name.
        problem: what is wrong, and what is allowed.
    """

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter


class Parameter(NamedTuple):
    """A query parameter.

    Attributes:
        default: used if it is left out; its type is the parameter's. None: a required string.
        choices: allowed strings; empty: any.
        minimum: of a number.
        maximum: of a number.
    """

    name: str
    description: str
    default: str | int | None = None
    choices: Sequence[str] = ()
    minimum: int = 0
    maximum: int = 0

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        if isinstance(self.default, int):
            return {
                "type": "integer",
                "default": self.default,
                "minimum": self.minimum,
                "maximum": self.maximum,
            }
        schema: dict[str, Any] = {"type": "string", "maxLength": NAME_BYTES_MAX}
        if self.choices:
            schema = {"type": "string", "enum": list(self.choices)}
        return schema if self.default is None else schema | {"default": self.default}

    def parse(self, text: str | None) -> Any:
        """Its value.

        Args:
            text: as in the query; None if it is left out.

        Raises:
            InvalidParameter: it is missing or wrong.
        """
        if text is None:
            if self.default is None:
                raise InvalidParameter(self.name, "is required")
            return self.default
        if isinstance(self.default, int):
            return self._number(text)
        text = ALIASES.get((self.name, text), text)
        if self.choices and text not in self.choices:
            raise InvalidParameter(self.name, f"must be one of {', '.join(filter(None, self.choices))}")
        if len(text.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
            raise InvalidParameter(self.name, f"is longer than {NAME_BYTES_MAX} bytes")
        return text

    def _number(self, text: str) -> int:
        decimal = text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX
        number = int(text) if decimal else None
        if number is None or not self.minimum <= number <= self.maximum:
            raise InvalidParameter(self.name, f"must be a whole number from {self.minimum} to {self.maximum}")
        return number


def parse(parameters: Sequence[Parameter], query: Mapping[str, str]) -> dict[str, Any]:
    """Values of all parameters, by name.

    Args:
        parameters: of the endpoint.
        query: of the request.

    Raises:
        InvalidParameter: one is missing, wrong or unknown.
    """
    known = {parameter.name for parameter in parameters}
    for name in query:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise InvalidParameter(name[:UNKNOWN_NAME_MAX], f"unknown parameter; known here: {allowed}")
    return {parameter.name: parameter.parse(query.get(parameter.name)) for parameter in parameters}
