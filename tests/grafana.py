"""Strict validation of a Grafana dashboard against Grafana's own schema.

The schema comes as generated classes (grafana-foundation-sdk), which accept anything. Here every key must be
one of the schema's, and every value must have the schema's type.
"""

from __future__ import annotations

import enum
import itertools
import json
import re
import types
import typing
import warnings
from collections.abc import Iterator
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore", DeprecationWarning
    )  # the classic dashboard, which Grafana 12 still accepts
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.cog.runtime import Runtime
    from grafana_foundation_sdk.cog.variants import Dataquery
    from grafana_foundation_sdk.models import dashboard as schema
    from grafana_foundation_sdk.models import units

register_default_plugins()
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
COLUMNS = 24  # width of a dashboard's grid
DATASOURCE = "prometheus"


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, rows included, also those inside rows."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All queries of panels and annotations, each with a title."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target
    for annotation in dashboard["annotations"]["list"]:
        if "target" in annotation:
            yield f"annotation {annotation['name']}", annotation["target"]


def faults(dashboard: dict[str, Any]) -> list[str]:
    """Differences from the schema, one line each; empty if there are none."""
    found = list(_compare(schema.Dashboard, dashboard, "dashboard"))
    if found:
        return found
    read = json.loads(json.dumps(schema.Dashboard.from_json(dashboard), cls=JSONEncoder))
    return [*_lost(dashboard, read, "dashboard"), *_layout(dashboard)]


def _compare(kind: Any, value: Any, where: str) -> Iterator[str]:
    """Compare a value with its type in the schema."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind in (Any, object):
        return
    if kind is Dataquery:
        kind = _of(Runtime().dataquery_variants[DATASOURCE].from_json_hook)
    if origin in (typing.Union, types.UnionType):
        tried = [list(_compare(part, value, where)) for part in parts]
        yield from min(tried, key=len)
    elif origin is typing.Literal:
        if value not in parts:
            yield f"{where}: {value!r} is none of {parts}"
    elif origin is list:
        if isinstance(value, list):
            for n, item in enumerate(value):
                yield from _compare(parts[0], item, f"{where}[{n}]")
        else:
            yield f"{where}: {value!r} is no list"
    elif origin is dict:
        if isinstance(value, dict):
            for key, item in value.items():
                yield from _compare(parts[1], item, f"{where}.{key}")
        else:
            yield f"{where}: {value!r} is no object"
    elif kind is typing.Never:
        yield f"{where}: is not known"
    elif kind is type(None):
        if value is not None:
            yield f"{where}: {value!r} is not null"
    elif issubclass(kind, enum.Enum):
        if value not in [member.value for member in kind]:
            yield f"{where}: {value!r} is none of {[member.value for member in kind]}"
    elif hasattr(kind, "from_json"):
        yield from _compare_object(kind, value, where)
    elif not _is(kind, value):
        yield f"{where}: {value!r} is no {kind.__name__}"


def _is(kind: type, value: Any) -> bool:
    """True if a plain value has this type; a bool is not a number."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _compare_object(kind: Any, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no {kind.__name__}"
        return
    hints = {_plain(name): hint for name, hint in typing.get_type_hints(kind).items()}
    if kind is schema.Panel:
        plugin = Runtime().panelcfg_config(value.get("type", ""))
        if plugin is None:
            yield f"{where}: {value.get('type')!r} is no kind of panel"
            return
        hints["options"] = _of(plugin.options_from_json_hook)
        custom = _of(plugin.field_config_from_json_hook)
        yield from _custom(custom, value.get("fieldConfig", {}), f"{where}.fieldConfig")
    for key, item in value.items():
        if _plain(key) in hints:
            yield from _compare(hints[_plain(key)], item, f"{where}.{key}")
        else:
            yield f"{where}: {key!r} is not known in {kind.__name__}"


def _plain(name: str) -> str:
    """Common form of a name in Python and JSON: `type_val` and `type`, `iconColor` and `icon_color`."""
    return name.removesuffix("_val").replace("_", "").lower()


def _of(reader: Any) -> Any:
    """Class that this reader belongs to; without a reader, a type that accepts no keys."""
    return reader.__self__ if reader else dict[str, typing.Never]


def _custom(custom: Any, config: dict[str, Any], where: str) -> Iterator[str]:
    """Compare field settings of this kind of panel, in the defaults and in overrides."""
    defaults = config.get("defaults", {})
    yield from _compare(custom, defaults.get("custom", {}), f"{where}.defaults.custom")
    settings = [("unit", defaults["unit"])] if "unit" in defaults else []
    for override in config.get("overrides", []):
        for entry in override["properties"]:
            kind, key = schema.FieldConfig, entry["id"]
            if key.startswith("custom."):
                kind, key = custom, key.removeprefix("custom.")
            yield from _compare(kind, {key: entry["value"]}, f"{where}.overrides")
            settings.append((key, entry["value"]))
    yield from (
        f"{where}: {value!r} is no unit" for key, value in settings if key == "unit" and value not in UNITS
    )


def _lost(given: Any, read: Any, where: str) -> Iterator[str]:
    """Values that the schema's own reader drops or changes; names must match exactly."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key in read:
                yield from _lost(value, read[key], f"{where}.{key}")
            elif value is not None:
                yield f"{where}: {key!r} is not read"
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for n, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from _lost(one, other, f"{where}[{n}]")
    elif given != read:
        yield f"{where}: {given!r} is read as {read!r}"


def _layout(dashboard: dict[str, Any]) -> Iterator[str]:
    """Check what types cannot: unique panel ids, no overlapping panels, no unknown variables."""
    taken: dict[tuple[int, int], str] = {}
    ids: set[int] = set()
    for panel in panels(dashboard):
        name, at = panel["title"], panel["gridPos"]
        if panel["id"] in ids:
            yield f"{name}: {panel['id']} is the number of another panel"
        ids.add(panel["id"])
        if at["x"] + at["w"] > COLUMNS:
            yield f"{name}: beyond the edge"
        columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        for cell in itertools.product(columns, rows):
            if cell in taken:
                yield f"{name}: lies over {taken[cell]}"
                break
            taken[cell] = name
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    for name in re.findall(r"\$\{?(\w+)", json.dumps(dashboard)):
        if name not in known and not name.startswith("__"):
            yield f"${name} is no variable"
