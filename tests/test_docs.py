"""The documentation matches the code: settings, commands, fields, metrics, limits and links."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, get_args

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_lstm import cli
from stream_lstm.core.codec.encoder import PredictionMessage
from stream_lstm.core.model.file import from_bytes
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.views import history
from stream_lstm.events import REASONS
from stream_lstm.service import app
from stream_lstm.service.http import cpu_budget, live_feed, routes, server
from stream_lstm.service.http.api import ENDPOINTS, LIVE
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import page, registry
from stream_lstm.service.pipeline import recorder
from stream_lstm.service.settings import TOKEN_USER, HttpSettings, Settings, load
from tests.service.metrics.test_exporter import PRESENT

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"(?P<mark><!-- not run: .+ -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
KINDS = {"console", "toml", "text", "json", "python"}


class Block(NamedTuple):
    """A fenced block of a document; `run` is False if a comment marks it as not run."""

    document: Path
    kind: str
    text: str
    run: bool


def all_blocks() -> list[Block]:
    return [
        Block(document, found["kind"], found["text"], not found["mark"])
        for document in DOCUMENTS
        for found in FENCE.finditer(document.read_text("utf-8"))
    ]


BLOCKS = all_blocks()


def name(block: Block) -> str:
    return f"{block.document.name}-{BLOCKS.index(block)}"


def table(document: str, heading: str) -> list[str]:
    """The first column of the first table after a heading, without backticks."""
    text = (ROOT / document).read_text("utf-8").split(heading, 1)[1]
    rows = re.findall(r"^\| (.+?) \|", text.split("\n\n|", 1)[1].split("\n\n", 1)[0], re.M)
    return [row.strip("`") for row in rows if row.startswith("`")]


def test_every_block_has_a_known_language() -> None:
    assert {block.kind for block in BLOCKS} <= KINDS
    assert {block.kind for block in BLOCKS if block.run} == KINDS


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "toml" and b.run], ids=name)
def test_settings_blocks_load(block: Block, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(block.text)
    load(tmp_path / "settings.toml")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "json"], ids=name)
def test_json_blocks_parse(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "python" and b.run], ids=name)
def test_python_blocks_run(block: Block) -> None:
    """From the root of the repository, as a user has it."""
    command = [sys.executable, "-W", "error", "-c", block.text]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "console"], ids=name)
def test_commands_and_options_exist(block: Block) -> None:
    """Every `stream-lstm` command line parses, and every make target exists."""
    commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    assert commands
    for command in (part for line in commands for part in re.split(r" && |\|", line)):
        words = [word for word in shlex.split(command) if "=" not in word]
        program = Path(words[0]).name
        if program == "stream-lstm":
            parse(words[1:])
        elif program == "make":
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        else:
            assert program in {"python3", "pip", "mosquitto_pub", "mosquitto_sub", "head", "curl", "docker"}


def parse(words: list[str]) -> None:
    """Parse a command line without running it."""
    command = cli.main.commands[words[0]]
    present = [
        str(ROOT / "README.md") if word.endswith((".csv", ".db", ".safetensors")) and word[0] != "-" else word
        for word in words[1:]
    ]
    present = [str(ROOT) if word == "DIR" else word for word in present]
    with click.Context(command) as context:
        command.parse_args(context, present)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_point_to_existing_files_and_headings(document: Path) -> None:
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", document.read_text("utf-8")):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_architecture_names_an_entry_point_of_each_module() -> None:
    rows = re.findall(r"\]\((\S+\.py)\) \| `([\w.]+)` \|", (ROOT / "docs/architecture.md").read_text("utf-8"))
    assert len(rows) > 20
    for path, entry_point in rows:
        source = (ROOT / "docs" / path).read_text("utf-8")
        assert re.search(rf"^ *(?:async )?(?:def|class) {entry_point.split('.')[-1]}\b", source, re.M) or (
            re.search(rf"^{entry_point} = ", source, re.M)
        ), f"{path}: {entry_point}"


def test_the_table_of_commands_is_complete() -> None:
    listed = table("README.md", "The smallest useful file")
    assert sorted(listed) == sorted(f"stream-lstm {name}" for name in cli.main.commands)


def test_every_field_of_a_prediction_is_documented() -> None:
    documented = table("docs/predictions.md", "## A prediction")
    assert documented == list(PredictionMessage.__struct_fields__)


def test_every_reason_for_rejection_is_documented() -> None:
    assert sorted(table("docs/predictions.md", "## A rejection")) == sorted(REASONS)


def table_of_metrics() -> list[tuple[str, str]]:
    """The name and type of every documented metric."""
    document = (ROOT / "docs/metrics.md").read_text("utf-8")
    return re.findall(r"^\| `(\w+)(?:{[\w,]+})?` \| (\w+) \|", document, re.M)


def test_every_path_and_parameter_of_the_api_is_documented() -> None:
    served = [*(endpoint.path for endpoint in ENDPOINTS.values()), LIVE.path]
    assert table("docs/api.md", "# The API") == served
    for heading, endpoint in [
        ("## Streams", ENDPOINTS["streams"]),
        ("## One stream", ENDPOINTS["stream"]),
        ("## Gate trace", ENDPOINTS["insides"]),
        ("## Live", LIVE),
    ]:
        assert table("docs/api.md", heading) == [parameter.name for parameter in endpoint.parameters]
    text = (ROOT / "docs/api.md").read_text("utf-8")
    for endpoint in ENDPOINTS.values():
        for parameter in endpoint.parameters:
            for choice in filter(None, parameter.choices):
                assert f"`{choice}`" in text, choice
            if parameter.maximum and parameter.name not in ("offset", "layer"):
                assert f"default {parameter.default}, at most {parameter.maximum:,}" in text


def test_the_documented_limits_of_the_api_match_the_code() -> None:
    text = " ".join((ROOT / "docs/api.md").read_text("utf-8").split())
    for statement in [
        f"`http.recent_events_max` ({HttpSettings().recent_events_max:,})",
        f"`http.viewers_max` ({HttpSettings().viewers_max})",
        f"the last {recorder.ALERTS_MAX} alerts",
        f"of each {recorder.PAYLOAD_BYTES_MAX:,} bytes of payload and {recorder.TEXT_MAX:,} characters",
        f"{recorder.ANOMALOUS_STREAMS_MAX:,} streams with a recent anomaly",
        f"kept every {history.KEYFRAME_EVENTS} events",
        f"{history.EVENTS_BYTES_MAX // 2**20} MB of events, "
        f"{history.KEYFRAMES_BYTES_MAX // 2**20} MB of records",
        f"There are {app.CONNECTIONS_BESIDE_VIEWERS} more connections",
        f"complete within {server.HEAD_SECONDS_MAX:.0f} seconds",
        f"after {server.IDLE_SECONDS_MAX:.0f} seconds between two requests",
        f"or {server.STALL_SECONDS_MAX:.0f} in which the client reads nothing",
        f"headers have up to {server.HEADER_BYTES_MAX // 1024} kB",
        f"more than {live_feed.BUSY_MESSAGES} messages wait",
        f"more than {live_feed.EVENTS_MAX} events came",
        f"reads nothing for {routes.WRITE_SECONDS_MAX:.0f} seconds",
        f"user `{TOKEN_USER}`",
        f"fewer than {WARM_EVENTS} events",
    ]:
        assert statement in text, statement
    assert (cpu_budget.SHARE, live_feed.SHARE, live_feed.SHARE_BUSY) == (1 / 20, 1 / 20, 1 / 100)
    assert (cpu_budget.SAVED_SECONDS_MAX, cpu_budget.WAIT_SECONDS_MAX, recorder.EXAMPLES_MAX) == (
        0.5,
        5.0,
        10,
    )


def test_every_metric_is_documented() -> None:
    scraped = page(registry(Counters(), lambda: PRESENT)).decode()
    exposed = [
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in text_string_to_metric_families(scraped)
        if family.name.startswith("stream_lstm_")
    ]
    assert sorted(table_of_metrics()) == sorted(exposed)


def test_every_setting_is_in_the_default_configuration() -> None:
    shown = (ROOT / "configs/default.toml").read_text("utf-8")
    for section, field in Settings.model_fields.items():
        within = shown.split(f"[{section}]", 1)[1].split("\n[", 1)[0]
        kind = (get_args(field.annotation) or (field.annotation,))[0]
        for name in kind.model_fields:
            assert re.search(rf"\b{name} = ", within), f"{section}.{name}"


def test_the_model_card_matches_the_model_file() -> None:
    described = from_bytes((ROOT / "stream_lstm/models/default.safetensors").read_bytes()).spec
    document = (ROOT / "docs/model.md").read_text("utf-8")
    for held_out in described.made["held_out"].split(", "):
        assert f"| `{held_out}` |" in document
    assert f"--seed 1 --steps {described.made['command'].split('--steps ')[1].split()[0]}" in document
