"""Deployment files: valid for their tools, and consistent with settings, metrics and documentation."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from stream_lstm.service.settings import load
from tests.test_house import ROOT

KUBERNETES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
RULES = ROOT / "configs" / "prometheus" / "rules.yml"
OWN_KINDS = {"PodMonitor"}  # a resource of the Prometheus Operator, not of Kubernetes


def test_every_kubernetes_object_is_valid() -> None:
    kinds = set()
    for path in KUBERNETES:
        for resource in yaml.safe_load_all(path.read_text()):
            kinds.add(resource["kind"])
            if resource["kind"] not in OWN_KINDS:
                kubernetes_validate.validate(resource, "1.33", strict=True)
    assert kinds == {"ConfigMap", "Service", "StatefulSet", "NetworkPolicy", "PodMonitor"}


def test_the_settings_in_the_manifest_load(tmp_path: Path) -> None:
    (settings,) = (
        resource["data"]["settings.toml"]
        for resource in yaml.safe_load_all(KUBERNETES[-1].read_text())
        if resource["kind"] == "ConfigMap"
    )
    (tmp_path / "settings.toml").write_text(settings)
    assert load(tmp_path / "settings.toml").state.path == Path("/data/stream_lstm.db")


def test_the_environment_in_compose_sets_the_secure_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docker" / "compose.secure.yaml").read_text().replace("!override", "")
    secure = yaml.safe_load(text)
    for name, value in secure["services"]["stream-lstm"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load(ROOT / "configs" / "docker.toml")
    assert settings.mqtt.encrypted
    assert settings.http.requires_credentials
    given = {f"/run/secrets/{name}" for name in secure["services"]["stream-lstm"]["secrets"]}
    asked = {settings.mqtt.ca_file, settings.mqtt.password_file, settings.http.token_file}
    assert {str(path) for path in asked} == given


def test_compose_drops_privileges_and_opens_ports_locally() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["stream-lstm"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    for described in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values():
        for port in described.get("ports", []):
            assert port.startswith("127.0.0.1:")


def images(path: str) -> dict[str, str]:
    """Images that a compose file takes from a registry, by service; for `stream-lstm`, its base image."""
    found = {}
    for name, service in yaml.safe_load((ROOT / path).read_text())["services"].items():
        if (
            base := service.get("build")
            and service["build"] != "."
            and service["build"]["args"]["PYTHON_IMAGE"]
        ):
            found[name] = base
        elif service.get("image", "stream-lstm") != "stream-lstm":
            found[name] = service["image"]
    return found


def test_images_have_exact_versions_and_the_pinned_ones_a_digest() -> None:
    (base,) = re.findall(r"(?m)^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text())
    tagged = images("compose.yaml") | {"stream-lstm": base}
    pinned = images("docker/compose.pinned.yaml")
    assert pinned.keys() == tagged.keys()
    for name, image in tagged.items():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-slim-trixie)?", image)
        assert re.fullmatch(re.escape(image) + r"@sha256:[0-9a-f]{64}", pinned[name])
    assert f" {tagged['mosquitto']} " in (ROOT / "docker" / "make-secrets").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_the_systemd_unit_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "systemd" / "stream-lstm.service").read_text()
    unit = tmp_path / "stream-lstm.service"  # with an existing program
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    complaints = [line for line in found.stderr.splitlines() if "stream-lstm.service" in line]
    assert complaints == []


def metrics_named(text: str) -> set[str]:
    return set(re.findall(r"\bstream_lstm_[a-z_]+[a-z]\b", text))


def test_alerts_use_documented_metrics_and_have_a_runbook_section() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    documented = metrics_named((ROOT / "docs" / "metrics.md").read_text())
    for rule in rules:
        for name in metrics_named(rule["expr"]):
            assert name.removesuffix("_bucket") in documented, (rule["alert"], name)
    paragraphs = set(re.findall(r"(?m)^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text()))
    assert paragraphs == {rule["alert"] for rule in rules}
    tested = (ROOT / "configs" / "prometheus" / "rules.test.yml").read_text()
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
        assert rule["alert"] in tested


def test_the_job_name_matches_the_alert_on_a_down_service() -> None:
    (named,) = re.findall(r'up\{job="(\w+)"\}', RULES.read_text())
    for name in ("prometheus.yml", "secure.yml"):
        (job,) = yaml.safe_load((RULES.parent / name).read_text())["scrape_configs"]
        assert job["job_name"] == named
    (endpoint,) = yaml.safe_load(KUBERNETES[0].read_text())["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": named}]


def test_the_image_has_locked_packages_and_runs_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    installs = [line for line in lines if "pip install" in line and "--requirement" in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
    assert "USER 10001:10001" in lines
    assert not any(line.startswith("# syntax") for line in lines)
    ours = tomllib.loads((ROOT / "configs" / "docker.toml").read_text())
    assert ours["state"]["path"].startswith("/data/")
