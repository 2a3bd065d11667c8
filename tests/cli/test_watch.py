"""`watch` against a running service: live on a terminal, once, as JSON; with credentials, and unreachable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import trustme

from stream_lstm.cli import observe, watch
from stream_lstm.cli.api_client import ApiRefused, Unreachable
from stream_lstm.service.http.stream_list import LIMIT_MAX, Sort, State
from tests.brokers import Mosquitto, free_port
from tests.cli.emulated import Terminal
from tests.service.running import SECONDS_MAX, Running, until
from tests.service.test_operations import Serving, command

CA = trustme.CA()
NAMES = [
    "pump",
    "\\u001b[2J\\u001b[31mred",
    "\\u202eevil",
    "温度",
    "a\\u200bb",
    "🌡️🚀",
    "e\\u0301\\u0301\\u0301\\u0301",
]
SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[subscribe]]
topic = "sensors/#"
stream = "{{payload.name}}"
fields = ["t"]
"""


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto()


@pytest.fixture
def service(tmp_path: Path, broker: Mosquitto) -> Iterator[Running]:
    """A service with streams of ordinary and hostile names."""
    port = free_port()
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port), http=f"port = {port}") as running:
        lines = [f'{{"name": "{name}", "t": {20.0 + n}}}' for n, name in enumerate(NAMES)]
        broker.publish_lines("sensors/all", "\n".join(lines) + "\n")
        until(lambda: json.loads(running.get("/api/streams")[1])["total"] == len(NAMES), running)
        yield running


def arguments(service: Running, *more: str) -> list[str]:
    return ["watch", "--config", str(service.folder / "settings.toml"), *more]


def test_the_choices_are_those_of_the_api() -> None:
    assert get_args(Sort) == tuple(observe.SORTS)
    assert get_args(State) == tuple(observe.STATES)
    assert observe.LIMIT_MAX == watch.LIMIT_MAX == LIMIT_MAX


# Without a terminal


def test_without_a_terminal_the_list_is_printed_once(service: Running) -> None:
    shown = command(*arguments(service))
    assert shown.returncode == 0, shown.stderr
    head, titles, *rows, foot = shown.stdout.splitlines()
    assert head.startswith("ready · ")
    assert f"{len(NAMES)} streams" in head
    assert titles.split()[:3] == ["stream", "last", "value"]
    assert len(rows) == len(NAMES)
    assert foot.startswith(f"{len(NAMES)} of {len(NAMES)} streams")
    assert "%1B[2J%1B[31mred" in shown.stdout  # escaped in the name of the stream
    assert "\\u202eevil" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "cold" in rows[0]


def test_options_choose_the_streams(service: Running) -> None:
    shown = command(
        *arguments(service, "--search", "PUM", "--state", "cold", "--sort", "name", "--limit", "1")
    )
    assert shown.stdout.splitlines()[2].split()[:3] == ["pump:t", "20", "20"]
    assert len(shown.stdout.splitlines()) == 4
    nothing = command(*arguments(service, "--state", "stale"))
    assert nothing.stdout.splitlines()[-1].startswith("0 of 0 streams")
    old = command(*arguments(service, "--state", "odd", "--sort", "odd"))
    assert old.stdout.splitlines()[-1].startswith("0 of 0 streams")
    for wrong in (["--sort", "x"], ["--limit", "501"], ["--every", "0"], ["--token-file", __file__]):
        assert command(*arguments(service, *wrong)).returncode == 2


def test_json_is_a_line_for_each_request(service: Running) -> None:
    once = command(*arguments(service, "--json", "--once", "--sort", "name"))
    found = json.loads(once.stdout)
    assert found["overview"]["ready"] is True
    assert found["streams"]["total"] == len(NAMES)
    assert {line["name"] for line in found["streams"]["streams"]} == {
        json.loads(f'"{name}:t"').replace("\x1b", "%1B") for name in NAMES
    }
    assert once.stdout.isascii()
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_lstm", *arguments(service, "--json", "--every", "0.2")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert lines[0]["overview"]["now"] < lines[2]["overview"]["now"]
        process.send_signal(number)
        _, errors = process.communicate(timeout=SECONDS_MAX)
        assert (process.returncode, errors) == (0, "")


def test_json_continues_when_the_service_is_back(service: Running) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_lstm", *arguments(service, "--json", "--every", "0.2")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        before = json.loads(process.stdout.readline())["overview"]["started"]
        service.kill()
        assert "unreachable: http://127.0.0.1:" in process.stderr.readline()
        service.start()
        while json.loads(process.stdout.readline())["overview"]["started"] == before:
            pass  # lines from before the restart
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS_MAX)


# Credentials and certificates


def test_a_service_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f"[http]\nport = {free_port()}\n")
    for more in ([], ["--once"], ["--json", "--once"]):
        failed = command("watch", "--config", str(config), *more)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert "does not answer: connection refused" in failed.stderr
    config.write_text("[http]\npage = false\n")
    assert command("watch", "--config", str(config)).returncode == 2
    assert command("watch", "--url", "plant").returncode == 2


def test_a_service_with_a_token_requires_it(tmp_path: Path, broker: Mosquitto) -> None:
    token, other, port = tmp_path / "token", tmp_path / "other", free_port()
    token.write_text("t0ken\n")
    other.write_text("no\n")
    http = f'port = {port}\ntoken_file = "{token}"'
    with Running(tmp_path / "s", SETTINGS.format(port=broker.port), http=http) as service:
        assert command(*arguments(service)).returncode == 0
        url = ["watch", "--url", f"http://127.0.0.1:{port}"]
        assert command(*url, "--token-file", str(token)).stdout.startswith("ready")
        for given, hint in (
            ([], "give its token with --token-file"),
            (["--token-file", str(other)], "check --token-file"),
        ):
            refused = command(*url, *given)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "denies access" in refused.stderr
            assert hint in refused.stderr
        wrong = tmp_path / "wrong.toml"
        wrong.write_text(f'[http]\nport = {port}\ntoken_file = "{other}"\n')
        refused = command("watch", "--config", str(wrong))
        assert refused.returncode == 1
        assert "http.token_file" in refused.stderr
        with Terminal(["watch", "--config", str(wrong)]) as terminal:
            assert terminal.wait() == 1
            assert not terminal.screen.modes["1049"]
            assert "denies access" in "\n".join(terminal.screen.text)


def test_the_certificate_of_the_settings_is_trusted_and_no_other(tmp_path: Path, broker: Mosquitto) -> None:
    port = free_port()
    signer = CA.create_child_ca()  # the issuer of both certificates is in both files
    for name in ("ours", "theirs"):
        leaf = signer.issue_cert("elsewhere.example", "localhost")
        leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
    config = tmp_path / "settings.toml"

    def written(name: str) -> str:
        config.write_text(
            f'{SETTINGS.format(port=broker.port)}[state]\npath = "{tmp_path}/s.db"\n'
            f'[http]\nport = {port}\ncert_file = "{tmp_path}/{name}.pem"\n'
        )
        return str(config)

    written("ours")
    with Serving(config) as service:
        service.until(lambda: command("healthcheck", "--config", str(config), "--ready").returncode == 0)
        assert command("watch", "--config", written("ours")).stdout.startswith("ready")
        refused = command("watch", "--config", written("theirs"))
        assert refused.returncode == 1
        assert "is not trusted" in refused.stderr
        stranger = command("watch", "--url", f"https://127.0.0.1:{port}")
        assert stranger.returncode == 1
        assert "is not trusted" in stranger.stderr
        CA.cert_pem.write_to_path(tmp_path / "ca.pem")
        named = command("watch", "--url", f"https://localhost:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
        assert named.stdout.startswith("ready"), named.stderr
        named = command("watch", "--url", f"https://127.0.0.1:{port}", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
        assert "is not trusted" in named.stderr  # of another name


# On a terminal


def test_the_live_frame_follows_values_and_the_size_of_the_terminal(
    service: Running, broker: Mosquitto
) -> None:
    with Terminal(arguments(service, "--every", "0.2"), columns=100, lines=12) as terminal:
        lines = terminal.until(lambda lines: lines[0].startswith("ready"))
        assert terminal.screen.modes == {"1049": True, "25": False, "7": False}
        assert not terminal.echoes
        assert lines[1].split()[0] == "stream"
        assert any("\\u202eevil" in line for line in lines)
        assert lines[2 + len(NAMES)].startswith(
            f"{len(NAMES)} of {len(NAMES)} streams; by anomaly, every 0.2 s"
        )
        assert terminal.screen.coloured
        broker.publish("sensors/all", '{"name": "pump", "t": 77.25}')
        terminal.until(lambda lines: any("77.25" in line for line in lines))
        terminal.resize(40, 5)
        small = terminal.until(lambda lines: lines[4].startswith("2 of"))
        assert max(map(len, small)) < 40
        terminal.resize(120, 30)
        terminal.until(lambda lines: lines[2 + len(NAMES)].startswith(f"{len(NAMES)} of"))
        assert terminal.screen.text[0].endswith("rejected")
        terminal.signal(signal.SIGINT)
        assert terminal.wait() == 0
        assert terminal.screen.modes == {"1049": False, "25": True, "7": True}
        assert terminal.echoes


@pytest.mark.parametrize("how", ["q", "\x03", "\x04", signal.SIGTERM])
def test_keys_and_signals_quit(service: Running, how: str | signal.Signals) -> None:
    with Terminal(arguments(service), NO_COLOR="1") as terminal:
        terminal.until(lambda lines: lines[0].startswith("ready"))
        if isinstance(how, str):
            terminal.press("x")  # has no meaning; Ctrl-C discards it if it is not read yet
            terminal.press(how)
        else:
            terminal.signal(how)
        assert terminal.wait() == 0
        assert terminal.screen.modes == {"1049": False, "25": True, "7": True}
        assert not terminal.screen.coloured
        assert "".join(terminal.screen.text) == ""


def test_the_terminal_is_given_back_while_stopped(service: Running) -> None:
    with Terminal(arguments(service)) as terminal:
        terminal.until(lambda lines: lines[0].startswith("ready"))
        terminal.press("\x1a")
        until(lambda: terminal.read() and terminal.stopped())
        terminal.read()
        assert terminal.screen.modes == {"1049": False, "25": True, "7": True}
        assert terminal.echoes
        terminal.signal(signal.SIGCONT)
        terminal.until(lambda lines: lines[0].startswith("ready"))
        assert terminal.screen.modes["1049"]
        terminal.press("q")
        assert terminal.wait() == 0


def test_the_last_table_stays_until_the_service_is_back(service: Running) -> None:
    with Terminal(arguments(service, "--every", "0.2"), columns=120) as terminal:
        terminal.until(lambda lines: lines[0].startswith("ready"))
        service.kill()
        lines = terminal.until(lambda lines: lines[0].startswith("unreachable: "))
        assert "does not answer: connection refused; last answer" in lines[0]
        assert any("pump" in line for line in lines)
        service.start()
        terminal.until(lambda lines: lines[0].startswith("ready"))
        terminal.press("q")
        assert terminal.wait() == 0


def test_the_live_frame_is_drawn_without_a_keyboard(service: Running) -> None:
    with Terminal(arguments(service), keys=False) as terminal:
        terminal.until(lambda lines: lines[0].startswith("ready"))
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 0
        assert terminal.screen.modes == {"1049": False, "25": True, "7": True}


def test_once_on_a_terminal_does_not_use_the_alternate_screen(service: Running) -> None:
    with Terminal(arguments(service, "--once"), columns=60) as terminal:
        assert terminal.wait() == 0
        assert "1049" not in terminal.written
        assert terminal.screen.coloured
        assert terminal.screen.text[0].startswith("ready")
    with Terminal(arguments(service), TERM="dumb") as terminal:  # nothing can be drawn over
        assert terminal.wait() == 0
        assert "\x1b" not in terminal.written


def test_an_unexpected_error_leaves_the_terminal_restored(service: Running, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import stream_lstm.cli.watch_view as view\n"
        "def render(*_, **__): raise ZeroDivisionError('a fault')\n"
        "view.render = render\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with Terminal(arguments(service), PYTHONPATH=path) as terminal:
        assert terminal.wait() == 1
        assert terminal.screen.modes == {"1049": False, "25": True, "7": True}
        assert "a fault" in terminal.written


@pytest.mark.parametrize(
    ("failures", "seconds", "wait"),
    [
        (0, 0.2, 0.2),
        (1, 0.2, 1.0),
        (2, 0.2, 2.0),
        (3, 1.0, 4.0),
        (9, 1.0, 15.0),
        (10_000, 1.0, 15.0),
        (1, 60.0, 15.0),
    ],
)
def test_the_time_between_retries_doubles_up_to_a_limit(failures: int, seconds: float, wait: float) -> None:
    assert watch.retry_seconds(failures, seconds) == wait


async def test_polling_ends_with_an_error_that_a_retry_does_not_help() -> None:
    outcomes: list[Exception] = [Unreachable("gone"), Unreachable("gone"), ApiRefused("no")]
    changes = []

    class Failing:
        async def get(self, *_: Any, **__: Any) -> None:
            raise outcomes.pop(0)

    options = watch.WatchOptions("", "all", "anomaly", None)
    poller = watch.Poller(Failing(), options, 0.0, lambda: changes.append(poller.problem), sleep=_no_sleep)  # type: ignore[arg-type]
    with pytest.raises(ApiRefused):
        await poller.run()
    assert changes == ["gone", "gone"]


async def _no_sleep(seconds: float) -> None:
    pass
