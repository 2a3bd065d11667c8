"""The Grafana dashboard: valid by Grafana's schema, provisioned, and complete in its metrics."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests import grafana
from tests.test_docs import table_of_metrics
from tests.test_house import ROOT

DASHBOARD = ROOT / "configs" / "grafana" / "dashboards" / "stream_lstm.json"
PROVISIONING = ROOT / "configs" / "grafana" / "provisioning"
Dashboard = dict[str, Any]


@pytest.fixture
def dashboard() -> Dashboard:
    return json.loads(DASHBOARD.read_text("utf-8"))


def panel(of: Dashboard, title: str) -> Any:
    return next(panel for panel in grafana.panels(of) if panel["title"] == title)


def test_the_dashboard_is_valid(dashboard: Dashboard) -> None:
    assert grafana.faults(dashboard) == []


WRONG: list[tuple[str, Callable[[Dashboard], Any]]] = [
    ("'titel' is not known in Dashboard", lambda d: d.update(titel="a")),
    ("schemaVersion: '42' is no int", lambda d: d.update(schemaVersion="42")),
    ("editable: 1 is no bool", lambda d: d.update(editable=1)),
    ("version: True is no int", lambda d: d.update(version=True)),
    ("tags: 'mqtt' is no list", lambda d: d.update(tags="mqtt")),
    ("graphTooltip: 7 is none of", lambda d: d.update(graphTooltip=7)),
    ("'schemaversion' is not read", lambda d: d.update(schemaversion=d.pop("schemaVersion"))),
    ("type: 'number' is none of", lambda d: d["templating"]["list"][0].update(type="number")),
    ("'expression' is not known", lambda d: d["annotations"]["list"][1]["target"].update(expression="a")),
    ("'x' is no int", lambda d: panel(d, "Up")["gridPos"].update(h="x")),
    ("'grap' is no kind of panel", lambda d: panel(d, "Up").update(type="grap")),
    ("'legends' is not known", lambda d: panel(d, "CPU")["options"].update(legends={})),
    (
        "displayMode: 'pie' is none of",
        lambda d: panel(d, "CPU")["options"]["legend"].update(displayMode="pie"),
    ),
    ("colorMode: 'loud' is none of", lambda d: panel(d, "Up")["options"].update(colorMode="loud")),
    ("'fat' is not known", lambda d: panel(d, "CPU")["fieldConfig"]["defaults"]["custom"].update(fat=1)),
    ("custom.a: is not known", lambda d: panel(d, "Up")["fieldConfig"]["defaults"].update(custom={"a": 1})),
    ("'parsecs' is no unit", lambda d: panel(d, "CPU")["fieldConfig"]["defaults"].update(unit="parsecs")),
    (
        "'parsecs' is no unit",
        lambda d: panel(d, "From the broker")["fieldConfig"]["overrides"][0]["properties"].append(
            {"id": "unit", "value": "parsecs"}
        ),
    ),
    (
        "'lineStyles' is not known",
        lambda d: panel(d, "Unacknowledged")["fieldConfig"]["overrides"][0]["properties"].append(
            {"id": "custom.lineStyles", "value": {}}
        ),
    ),
    ("is the number of another panel", lambda d: panel(d, "CPU").update(id=1)),
    ("lies over Up", lambda d: panel(d, "Ready")["gridPos"].update(x=0)),
    ("beyond the edge", lambda d: panel(d, "Latency")["gridPos"].update(w=24)),
    ("$jobs is no variable", lambda d: panel(d, "CPU")["targets"][0].update(expr='up{job="$jobs"}')),
]


@pytest.mark.parametrize(("words", "spoil"), WRONG, ids=[words for words, _ in WRONG])
def test_an_invalid_dashboard_is_detected(
    dashboard: Dashboard, words: str, spoil: Callable[[Dashboard], Any]
) -> None:
    spoilt = copy.deepcopy(dashboard)
    spoil(spoilt)
    assert any(words in fault for fault in grafana.faults(spoilt)), grafana.faults(spoilt)


def test_the_schema_version_matches_the_grafana_in_compose(dashboard: Dashboard) -> None:
    image = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]["image"]
    assert re.fullmatch(r"grafana/grafana:12\.\d+\.\d+", image)
    assert dashboard["schemaVersion"] == grafana.schema.Dashboard().schema_version == 42
    assert "__inputs" not in dashboard
    assert "id" not in dashboard


def test_every_panel_has_a_description_a_data_source_and_a_unit(dashboard: Dashboard) -> None:
    for shown in grafana.panels(dashboard):
        if shown["type"] != "row":
            assert shown["description"].endswith("."), shown["title"]
            assert shown["datasource"]["uid"] == "${datasource}"
            has_unit = "unit" in shown["fieldConfig"]["defaults"] or "yAxis" in shown["options"]
            assert has_unit or shown["type"] in ("table", "state-timeline"), shown["title"]


def test_the_dashboard_shows_exactly_the_documented_metrics(dashboard: Dashboard) -> None:
    asked = " ".join(query["expr"] for _, query in grafana.queries(dashboard))
    names = re.findall(r"\bstream_lstm_\w+", asked)
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert shown == {name for name, _ in table_of_metrics()}


def test_every_alert_in_the_dashboard_exists(dashboard: Dashboard) -> None:
    rules = (ROOT / "configs" / "prometheus" / "rules.yml").read_text()
    for name in set(re.findall(r"StreamLstm[A-Z]\w+", DASHBOARD.read_text())):
        assert f"alert: {name}\n" in rules


def test_grafana_provisioning_finds_the_dashboard() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    ours = [volume.split(":") for volume in service["volumes"] if volume.startswith("./")]
    mounted = {inside: ROOT / outside for outside, inside, _ in ours}
    assert mounted["/etc/grafana/provisioning"] == PROVISIONING
    (file,) = (PROVISIONING / "dashboards").iterdir()
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    assert provider["type"] == "file"
    assert mounted[provider["options"]["path"]] == DASHBOARD.parent
    folder, name = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rsplit("/", 1)
    assert mounted[folder] / name == DASHBOARD


def test_the_scrape_interval_in_grafana_matches_prometheus() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    for name in ("prometheus.yml", "secure.yml"):
        asks = yaml.safe_load((ROOT / "configs" / "prometheus" / name).read_text())
        assert source["jsonData"]["timeInterval"] == asks["global"]["scrape_interval"]
