"""Topic patterns of a subscription, and name templates of its streams.

A pattern is an MQTT topic filter whose wildcards may have names: `sensors/{device}/telemetry` subscribes to
`sensors/+/telemetry`, `plant/{path...}` to `plant/#`. A stream's name is a template over these names,
`{topic}`, and fields of the payload, `{payload.id}`. Parts from the payload are escaped, so that a sensor can
name its stream but not move it to another topic. Topic rules: MQTT 5.0, section 4.7.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_lstm.errors import PayloadError

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029%/+#$:]")
PAYLOAD = "payload."
FILTER_BYTES_MAX = 65_535  # the length is 16 bits (MQTT 5.0, section 1.5.4)
NAME_INTEGER_MAX = 2**63  # ids have 64 bits at most


@dataclass(frozen=True, slots=True)
class Pattern:
    """A topic filter whose wildcards may have names.

    Attributes:
        text: as the settings have it.
        filter: for the SUBSCRIBE packet.
        names: of the wildcards that have one.
    """

    text: str
    filter: str = field(init=False)
    names: tuple[str, ...] = field(init=False)
    _match: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        levels = self.text.split("/")
        shared = levels[0] == "$share"
        if shared and len(levels) < 3:
            raise ValueError("a shared subscription is written $share/<group>/<filter>")
        prefix, levels = (levels[:2], levels[2:]) if shared else ([], levels)
        plain, names = [], []
        for n, level in enumerate(levels):
            wild, name = _wildcard(level, last=n == len(levels) - 1)
            plain.append(wild)
            names += [name] if name else []
        if not self.text or "\0" in self.text or len(self.text.encode()) > FILTER_BYTES_MAX:
            raise ValueError(f"a topic filter has 1 to {FILTER_BYTES_MAX:,} bytes and no NUL")
        if len(set(names)) != len(names) or {"topic", "payload"} & set(names):
            raise ValueError("each wildcard needs a name of its own, and not `topic` or `payload`")
        object.__setattr__(self, "filter", "/".join([*prefix, *plain]))
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "_match", re.compile(_expression(levels), re.DOTALL))

    def match(self, topic: str) -> dict[str, str] | None:
        """The named parts of a topic; None if the pattern does not match."""
        found = self._match.fullmatch(topic)
        return None if found is None else {k: v or "" for k, v in found.groupdict().items()}


def _wildcard(level: str, *, last: bool) -> tuple[str, str | None]:
    """A level in MQTT's syntax, and the name of its wildcard."""
    named = _NAME.fullmatch(level)
    if named and named[2] and not last:
        raise ValueError(f"{level} matches all levels that follow, so it must be the last")
    if named:
        return ("#" if named[2] else "+"), named[1]
    if level == "#" and not last:
        raise ValueError("# matches all levels that follow, so it must be the last")
    if level not in ("+", "#") and re.search(r"[+#{}]", level):
        raise ValueError(f"{level!r}: + and # and {{name}} stand for whole levels")
    return level, None


def _expression(levels: list[str]) -> str:
    """A regular expression that matches the same topics."""
    # A leading wildcard does not match topics that start with $ (MQTT 5.0, 4.7.2).
    parts = ["(?!\\$)"] if _wildcard(levels[0], last=len(levels) == 1)[0] in "+#" and levels[0] else []
    for n, level in enumerate(levels):
        wild, name = _wildcard(level, last=n == len(levels) - 1)
        slash = "/" if n else ""
        group = f"?P<{name}>" if name else "?:"
        if wild == "#":  # also matches the level above (MQTT 5.0, 4.7.1.2)
            parts.append(f"(?:{slash}({group}.*))?" if n else f"({group}.*)")
        else:
            parts.append(slash + (f"({group}[^/]*)" if wild == "+" else re.escape(level)))
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Template:
    """The name of a stream: literal text and `{names}`.

    Attributes:
        text: as the settings have it.
        known: names of the pattern's wildcards.
        payload_fields: paths of the fields that it needs, without `payload.`.
    """

    text: str
    known: tuple[str, ...]
    payload_fields: tuple[str, ...] = field(init=False)
    _parts: tuple[tuple[str, str | None], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts: list[tuple[str, str | None]] = []
        for literal, name, spec, conversion in string.Formatter().parse(self.text):
            if spec or conversion or name == "":
                raise ValueError("a stream's name takes {names} and plain text")
            if name is not None and name not in ("topic", *self.known) and not name.startswith(PAYLOAD):
                allowed = ", ".join(f"{{{n}}}" for n in ("topic", *self.known))
                raise ValueError(f"{{{name}}} is not known here; there are {allowed} and {{payload.<field>}}")
            parts.append((literal, name))
        if not self.text or re.search(r"[+#\x00]", "".join(literal for literal, _ in parts)):
            raise ValueError("a stream's name is not empty and holds no +, # or NUL")
        object.__setattr__(self, "_parts", tuple(parts))
        fields = tuple(n.removeprefix(PAYLOAD) for _, n in parts if n and n.startswith(PAYLOAD))
        object.__setattr__(self, "payload_fields", fields)

    def fill(self, topic: str, captured: Mapping[str, str], payload: Mapping[str, object]) -> str:
        """The stream's name.

        Args:
            topic: the message's.
            captured: the named parts of the topic.
            payload: values of `payload_fields`.

        Raises:
            PayloadError: a field is missing, or neither text nor an integer.
        """
        known = {"topic": topic, **captured}
        out = []
        for literal, name in self._parts:
            out.append(literal)
            if name is None:
                continue
            if name in known:
                out.append(_CONTROL.sub(_escaped, known[name]))
            else:
                out.append(_from_payload(name, payload.get(name.removeprefix(PAYLOAD))))
        return "".join(out)


def _from_payload(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise PayloadError("bad_key", f"{name} must be text or a whole number")
    if isinstance(value, int) and abs(value) > NAME_INTEGER_MAX:
        raise PayloadError("bad_key", f"{name} is too large a number for a name")
    return escape(str(value))


def escape(name: str) -> str:
    """A part of a name from a payload, percent-encoded where topics or stream names have syntax."""
    return _UNSAFE.sub(_escaped, name)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
