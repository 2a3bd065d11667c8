"""A real Prometheus scrapes the service: faults fire alerts, and the dashboard's queries find data."""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from tests import grafana
from tests.brokers import Mosquitto, find
from tests.prometheuses import JOB, RULES, Prometheus, promtool
from tests.service.end_to_end import SETTINGS, UNLIMITED
from tests.service.running import Running, until
from tests.test_grafana import DASHBOARD

REPORTING = (*UNLIMITED, "sys_interval 1")  # $SYS topics every second


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    names = "away", "full", "behind", "drops", "shown"
    running = Prometheus(tmp_path_factory.mktemp("prometheus"), *names)
    yield running.start()
    running.kill()


@contextmanager
def watched(prometheus: Prometheus, name: str, folder: Path, settings: str, **more: Any) -> Iterator[Running]:
    """A service that Prometheus scrapes, once no alert fires for it."""
    port = {"STREAM_LSTM__HTTP__PORT": str(prometheus.ports[name])}
    with mock.patch.dict(os.environ, port), Running(folder / name, settings, **more) as service:
        until(lambda: prometheus.ask(f'up{{instance="{name}"}} == 1'), service)
        until(lambda: not prometheus.firing(name), service)
        yield service


def fires(prometheus: Prometheus, alert: str, name: str) -> None:
    """Wait until an alert fires for a service."""
    until(lambda: alert in prometheus.firing(name))


def lines(values: list[float], begin: float) -> str:
    """Payloads, a second apart."""
    return "".join(json.dumps({"v": v, "time": begin + n}) + "\n" for n, v in enumerate(values))


def filled(expression: str, name: str) -> str:
    """A query as Grafana sends it."""
    variables = {"job": JOB, "instance": name, "__rate_interval": "2s"}
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], expression)


# Shipped files.


def test_promtool_accepts_rules_and_configurations_and_their_tests_pass() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES.name)
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yml")
    for name in ("prometheus.yml", "secure.yml"):
        assert "SUCCESS" in promtool("check", "config", "--syntax-only", name)


def test_all_rules_are_loaded_and_healthy(prometheus: Prometheus) -> None:
    until(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()))
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert [rule["name"] for rule in prometheus.rules()] == [rule["alert"] for rule in group["rules"]]


# Faults and their alerts.


def test_a_missing_broker_and_a_missing_service_fire_alerts(
    prometheus: Prometheus, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    queries = dict(grafana.queries(json.loads(DASHBOARD.read_text("utf-8"))))

    def shows(state: int) -> bool:
        """True if the dashboard's panel `State` has this value."""
        series = prometheus.ask(filled(queries["State A"]["expr"], "away"))
        return [one["value"][1] for one in series] == [str(state)]

    broker = mosquitto(*UNLIMITED)
    with watched(prometheus, "away", tmp_path, SETTINGS.format(port=broker.port)) as service:
        until(lambda: shows(4))
        broker.kill()
        fires(prometheus, "StreamLstmDisconnected", "away")
        until(lambda: shows(1))
        broker.start()
        until(lambda: not prometheus.firing("away"), service)
        until(lambda: shows(4))
        service.kill()
        fires(prometheus, "StreamLstmDown", "away")
        until(lambda: shows(0))


def test_a_full_disk_fires_an_alert(
    prometheus: Prometheus,
    mosquitto: Callable[..., Mosquitto],
    small_disk: Path,
) -> None:
    broker = mosquitto(*UNLIMITED)
    with watched(prometheus, "full", small_disk, SETTINGS.format(port=broker.port)) as service:
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(4_194_304))
        broker.publish_lines("home/a", lines([float(n) for n in range(3_000)], time.time()))
        fires(prometheus, "StreamLstmNotReady", "full")
        ballast.unlink()
        until(lambda: "StreamLstmNotReady" not in prometheus.firing("full"), service)


def test_a_growing_backlog_fires_an_alert(
    prometheus: Prometheus, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    begin = time.time() - 400

    def growing() -> bool:
        broker.publish_lines("home/a", lines([1.0], begin))
        return "StreamLstmBacklogGrows" in prometheus.firing("behind")

    with watched(prometheus, "behind", tmp_path, SETTINGS.format(port=broker.port)) as service:
        until(growing, service)


def test_messages_dropped_by_the_broker_are_counted_and_fire_an_alert(
    prometheus: Prometheus, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto("sys_interval 1", "max_queued_messages 1")
    asleep = ["-i", "asleep", "-c", "-x", "3600", "-q", "1", "-E", "-t", "home/#", "-V", "5"]
    subprocess.run([find("mosquitto_sub"), "-p", str(broker.port), *asleep], check=True, timeout=10)
    with watched(prometheus, "drops", tmp_path, SETTINGS.format(port=broker.port)) as service:
        dropped = "stream_lstm_broker_messages_dropped_total"
        until(lambda: service.metrics().get(dropped) == 0, service)
        until(lambda: prometheus.ask(f'{dropped}{{instance="drops"}} == 0'), service)
        broker.publish_lines("home/a", lines([float(n) for n in range(50)], time.time()))
        fires(prometheus, "StreamLstmBrokerDrops", "drops")
        found = service.metrics()
        assert found[dropped] >= 30  # of 50; mosquitto keeps 20 in flight and queues one
        assert found["stream_lstm_messages_received_total"] > 0
        assert found["stream_lstm_messages_received_total"] == found["stream_lstm_events_applied_total"]


# Queries of the dashboard.


def is_answered(prometheus: Prometheus, query: dict[str, Any], name: str) -> bool:
    """True if a query finds a number, with the labels that its legend names."""
    expression = filled(query["expr"], name)
    if query.get("instant"):
        series = prometheus.ask(expression)
        values = [one["value"] for one in series]
    else:
        series = prometheus.ask_range(expression, seconds=30)
        values = [value for one in series for value in one["values"]]
    named = re.findall(r"{{(\w+)}}", query.get("legendFormat", ""))
    labelled = all(label in one["metric"] for one in series for label in named)
    return labelled and any(math.isfinite(float(value)) for _, value in values)


def without_answer(
    prometheus: Prometheus, queries: Iterable[tuple[str, dict[str, Any]]], name: str
) -> list[str]:
    """The queries that find no data within 10 seconds."""
    waiting = list(queries)

    def all_are() -> bool:
        waiting[:] = [(what, query) for what, query in waiting if not is_answered(prometheus, query, name)]
        return not waiting

    with suppress(AssertionError):
        until(all_are, seconds=10)
    return [what for what, _ in waiting]


def load(broker: Mosquitto) -> None:
    """Publish events that set every metric: valid, invalid, anomalous, of more streams than fit in memory."""
    draw = random.Random(6)
    now = time.time()
    for stream in range(4):
        values = [draw.gauss(20.0, 1.0) for _ in range(160)]
        broker.publish_lines(f"home/warm{stream}", lines([*values, 400.0], now - 200))
    for n in range(12):
        broker.publish_lines(f"home/brief{n}", lines([1.0, 2.0], now))
    broker.publish_lines("home/warm0", lines([20.0], now - 500))
    broker.publish_lines("home/ill", "online\n" * 200)


def test_every_query_of_the_dashboard_finds_data_and_rejections_fire_an_alert(
    prometheus: Prometheus, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*REPORTING)
    settings = SETTINGS.format(port=broker.port) + "[limits]\nstreams_max = 6\n"
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    with watched(prometheus, "shown", tmp_path, settings) as service:
        load(broker)
        fires(prometheus, "StreamLstmRejects", "shown")
        assert without_answer(prometheus, grafana.queries(dashboard), "shown") == []
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
                assert variable["query"]["query"] == variable["definition"]
                assert prometheus.labels(label, filled(metric, "shown"))
        assert promtool("check", "metrics", stdin=service.get("/metrics")[1].encode()) == ""
