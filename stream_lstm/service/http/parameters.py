"""What may be asked of the API: parameters, what each may be, and what is said when it is something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NAME_BYTES_MAX = 16_384  # longer than any stream's name
DIGITS_MAX = 20


class InvalidParameter(Exception):
    """A parameter is not as it should be."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter


class Parameter(NamedTuple):
    """One parameter of a query.

    Attributes:
        default: if it is left out; its type says what it must be. None: it must be there.
        choices: what else it may be; none: anything.
        least: of a number.
        most: of a number.
    """

    name: str
    about: str
    default: str | int | None = None
    choices: Sequence[str] = ()
    least: int = 0
    most: int = 0

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        if isinstance(self.default, int):
            return {
                "type": "integer",
                "default": self.default,
                "minimum": self.least,
                "maximum": self.most,
            }
        schema: dict[str, Any] = {"type": "string", "maxLength": NAME_BYTES_MAX}
        if self.choices:
            schema = {"type": "string", "enum": list(self.choices)}
        return schema if self.default is None else schema | {"default": self.default}

    def read(self, text: str | None) -> Any:
        """Its value.

        Raises:
            Wrong: it may not be this.
        """
        if text is None:
            if self.default is None:
                raise InvalidParameter(self.name, "must be given")
            return self.default
        if isinstance(self.default, int):
            return self._number(text)
        if self.choices and text not in self.choices:
            raise InvalidParameter(self.name, f"must be one of {', '.join(filter(None, self.choices))}")
        if len(text.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
            raise InvalidParameter(self.name, f"is longer than {NAME_BYTES_MAX} bytes")
        return text

    def _number(self, text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else None
        if number is None or not self.least <= number <= self.most:
            raise InvalidParameter(self.name, f"must be a whole number from {self.least} to {self.most}")
        return number


def read(parameters: Sequence[Parameter], query: Mapping[str, str]) -> dict[str, Any]:
    """All parameters of a query.

    Raises:
        Wrong: one is missing, or wrong, or not known.
    """
    known = {parameter.name for parameter in parameters}
    for name in query:
        if name not in known:
            there_are = f"there are {', '.join(sorted(known))}" if known else "there are none"
            raise InvalidParameter(name[:100], f"is not a parameter here; {there_are}")
    return {parameter.name: parameter.read(query.get(parameter.name)) for parameter in parameters}
