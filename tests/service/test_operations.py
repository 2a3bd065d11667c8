"""What operators have beside the line: health, notes to systemd, who may read; and no secret shown."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from stream_lstm.cli.healthcheck import Unhealthy, ask
from stream_lstm.service.settings import HttpSettings
from stream_lstm.service.systemd import Notifier
from tests.brokers import Mosquitto, free_port
from tests.service.running import SECONDS_MAX

CA = trustme.CA()
SECRETS = {
    "mqtt.password": "hunter2-mqtt-inline",
    "mqtt.password_file": "hunter2-mqtt-file",
    "http.token": "hunter2-http-token",
    "http.password": "hunter2-http-password",
}


def written(folder: Path, settings: str) -> Path:
    config = folder / "settings.toml"
    config.write_text(settings)
    return config


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream_lstm", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=SECONDS_MAX,
        check=False,
    )


class Serving:
    """A service by its settings file."""

    def __init__(self, config: Path, **environment: str) -> None:
        self.config = config
        self.log = config.with_name("log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream_lstm", "run", "--config", str(config)],
                stdout=log,
                stderr=log,
                env=os.environ | environment,
            )

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def until(self, ready: Callable[[], object]) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + SECONDS_MAX
        while not ready():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)


def get(url: str, *, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_is_asked_from_outside(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    port, broker = free_port(), mosquitto()
    config = written(
        tmp_path,
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n[state]\npath = "{tmp_path}/s.db"\n'
        f'[http]\nhost = "0.0.0.0"\nport = {port}\n',
    )
    before = command("healthcheck", "--config", str(config))
    assert before.returncode == 1
    assert "does not answer" in before.stderr
    with Serving(config) as service:
        service.until(
            lambda: command("healthcheck", "--config", str(config), "--ready").stdout.strip() == "ready"
        )
        assert command("healthcheck", "--config", str(config)).stdout.strip() == "alive"
        broker.kill()
        service.until(lambda: command("healthcheck", "--config", str(config), "--ready").returncode == 1)
        away = command("healthcheck", "--config", str(config), "--ready")
        assert "not connected to the broker" in away.stderr
        assert command("healthcheck", "--config", str(config)).returncode == 0
    nowhere = written(tmp_path, "[http]\nenabled = false\n")
    assert command("healthcheck", "--config", str(nowhere)).returncode == 2


def test_an_answer_that_is_none_is_not_health(tmp_path: Path) -> None:
    import http.server
    import threading

    class Odd(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/readyz" else 200)
            self.end_headers()
            self.wfile.write(b"what?")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = HttpSettings(port=server.server_port)
        with pytest.raises(Unhealthy, match="does not answer"):
            ask(settings, ready=False)
        with pytest.raises(Unhealthy, match="not healthy"):
            ask(settings, ready=True)
        server.shutdown()


def test_who_says_who_they_are_may_read_and_over_tls(tmp_path: Path) -> None:
    port = free_port()
    leaf, token, password = CA.issue_cert("localhost"), tmp_path / "token", tmp_path / "password"
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    token.write_text("t0ken\n")
    password.write_text("pässword\n")
    config = written(
        tmp_path,
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[state]\npath = "{tmp_path}/s.db"\n'
        f'[http]\nport = {port}\ntoken_file = "{token}"\nusername = "me"\npassword_file = "{password}"\n'
        f'cert_file = "{tmp_path}/both.pem"\n',
    )
    context = ssl.create_default_context()
    CA.configure_trust(context)
    where = f"https://localhost:{port}"

    def read(path: str, authorization: str = "") -> int:
        return get(where + path, context=context, Authorization=authorization)[0]

    with Serving(config) as service:
        service.until(lambda: command("healthcheck", "--config", str(config)).returncode == 0)
        assert [read(path) for path in ("/healthz", "/metrics", "/nothing")] == [200, 401, 401]
        assert read("/metrics", "Bearer t0ken") == 200
        assert read("/metrics", "Basic bWU6cMOkc3N3b3Jk") == 200  # me:pässword
        for wrong in ("Bearer t0ke", "Bearer t0kenn", "bearer", "Basic bWU6cGFzcw==", "Bearer töken"):
            assert read("/metrics", wrong.encode().decode("latin-1")) == 401
        with pytest.raises(ssl.SSLCertVerificationError):  # a stranger is not believed to be us
            ssl.create_default_context().wrap_socket(
                socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
            )


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(abstract: bool, mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    address = f"@stream-lstm-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind("\0" + address[1:] if abstract else address)
        hears.settimeout(SECONDS_MAX)
        config = written(
            tmp_path,
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{mosquitto().port}"\n[state]\npath = "{tmp_path}/s.db"\n'
            "[http]\nenabled = false\n",
        )
        with Serving(config, NOTIFY_SOCKET=address, WATCHDOG_USEC="400000") as service:
            said: list[str] = []
            while said.count("WATCHDOG=1") < 3 or not any("connected to mqtt://" in note for note in said):
                said.append(hears.recv(4_096).decode())
            assert said[0] == "READY=1"
            service.process.terminate()
            while said[-1] != "STOPPING=1":
                said.append(hears.recv(4_096).decode())
            assert service.process.wait(SECONDS_MAX) == 0


def test_without_systemd_nobody_is_told() -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready()
    assert Notifier({"WATCHDOG_USEC": "1000000"}).watchdog_seconds is None
    assert Notifier({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000"}).watchdog_seconds == 0.5
    other = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Notifier(other).watchdog_seconds is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_learns_our_commands(shell: str) -> None:
    made = command("completion", shell)
    assert made.returncode == 0
    assert "_STREAM_LSTM_COMPLETE" in made.stdout
    asked = {"COMP_WORDS": "stream-lstm hea", "COMP_CWORD": "1", "_STREAM_LSTM_COMPLETE": "bash_complete"}
    main = "from stream_lstm.cli import main; main(prog_name='stream-lstm')"
    found = subprocess.run(
        [sys.executable, "-c", main], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert "healthcheck" in found.stdout


def test_files_that_others_can_get_at_are_named(tmp_path: Path) -> None:
    state = tmp_path / "s.db"
    config = written(
        tmp_path,
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[state]\npath = "{state}"\n[http]\nport = 0\n',
    )
    with Serving(config) as service:
        service.until(lambda: "not connected" in service.log.read_text())
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("s.db*")} == {0o600}
        assert "others on this machine" not in service.log.read_text()
    state.chmod(0o644)
    with Serving(config) as service:
        service.until(lambda: "others on this machine" in service.log.read_text())
        assert "chmod 600" in service.log.read_text()


def test_no_secret_is_ever_shown(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker, port, secret = mosquitto(anonymous=False), free_port(), tmp_path / "mqtt"
    secret.write_text(SECRETS["mqtt.password_file"])
    seen: list[str] = []
    for mqtt in (f'password = "{SECRETS["mqtt.password"]}"', f'password_file = "{secret}"'):
        config = written(
            tmp_path,
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\nusername = "me"\n{mqtt}\n'
            f'[state]\npath = "{tmp_path}/s.db"\n[log]\nlevel = "debug"\n'
            f'[http]\nport = {port}\ntoken = "{SECRETS["http.token"]}"\nusername = "me"\n'
            f'password = "{SECRETS["http.password"]}"\n',
        )
        shown = command("check", "--config", str(config), "--print")
        assert shown.returncode == 0
        (tmp_path / "log").unlink(missing_ok=True)
        with Serving(config) as service:
            service.until(lambda service=service: "check mqtt.username" in service.log.read_text())
            bearer = f"Bearer {SECRETS['http.token']}"
            seen += [get(f"http://127.0.0.1:{port}{path}")[1] for path in ("/readyz", "/healthz", "/metrics")]
            status, page = get(f"http://127.0.0.1:{port}/metrics", Authorization=bearer)
            assert status == 200
            seen += [page, service.log.read_text(), shown.stdout, shown.stderr]
    # What is wrong beside a secret, and a crash with all settings in its frames.
    wrong = written(tmp_path, config.read_text() + "nonsense = 1\n")
    seen += [command("run", "--config", str(wrong)).stderr]
    crash = (
        "import sys\nfrom pathlib import Path\nfrom stream_lstm.service.settings import load\n"
        f"settings = load(Path({str(config)!r}))\n"
        "from stream_lstm.service.assembly import client_options, credentials\n"
        "print(repr(settings), str(settings), repr(settings.http), repr(client_options(settings)),"
        " repr(credentials(settings.mqtt)), settings.model_dump_json())\nraise ValueError(settings)\n"
    )
    config.write_text(config.read_text().replace("nonsense = 1\n", ""))
    dumped = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, check=False)
    assert "ValueError: mqtt=MqttSettings(" in dumped.stderr  # all settings, in a traceback
    seen += [dumped.stdout, dumped.stderr]
    everything = "\n".join(seen)
    assert "**********" in dumped.stdout  # masked, and so really there
    for secret_text in SECRETS.values():
        assert secret_text not in everything
        assert not re.search(re.escape(secret_text.encode().hex()), everything)


def test_settings_of_http_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    for lines, words in (
        ('token = "a"\ntoken_file = "b"', "not both"),
        ('username = "a"', "go together"),
        ('password = "a"', "go together"),
        ('key_file = "a"', "without cert_file"),
    ):
        refused = command("check", "--config", str(written(tmp_path, f"[http]\n{lines}\n")))
        assert refused.returncode == 2
        assert words in refused.stderr
    empty = tmp_path / "empty"
    empty.write_text("\n")
    config = written(tmp_path, f'[http]\nport = 0\ntoken_file = "{empty}"\n[state]\npath = "{tmp_path}/s"\n')
    refused = command("run", "--config", str(config))
    assert refused.returncode == 2
    assert "http.token_file" in refused.stderr
    assert json.dumps(str(empty))[1:-1] in refused.stderr


def test_an_empty_token_does_not_open_the_door(tmp_path: Path) -> None:
    for lines in ('token = ""', 'username = "me"\npassword = ""'):
        refused = command("check", "--config", str(written(tmp_path, f"[http]\n{lines}\n")))
        assert refused.returncode == 2
        assert "empty" in refused.stderr or "go together" in refused.stderr
    for name in ("STREAM_LSTM__HTTP__TOKEN", "STREAM_LSTM__HTTP__TOKEN_FILE"):
        refused = command("check", **{name: ""})
        assert refused.returncode == 2
        assert f"{name}: is empty" in refused.stderr


def test_a_variable_that_is_nearly_ours_is_not_overlooked() -> None:
    refused = command("check", STREAM_LSTM_MQTT_URL="mqtt://broker")
    assert refused.returncode == 2
    assert "did you mean STREAM_LSTM__MQTT__URL?" in refused.stderr
    assert command("check", STREAM_LSTM_PORT_8080_TCP="tcp://10.0.0.1:8080").returncode == 0


def test_who_listens_to_all_and_asks_nobody_says_so(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[state]\npath = "{tmp_path}/s.db"\n'
        '[http]\nhost = "0.0.0.0"\nport = 0\n',
    )
    with Serving(config) as service:
        service.until(lambda: "HTTP is open to whoever" in service.log.read_text())


def test_health_as_json(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    port, broker = free_port(), mosquitto()
    config = written(
        tmp_path,
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n[state]\npath = "{tmp_path}/s.db"\n'
        f"[http]\nport = {port}\n",
    )
    asked = ("healthcheck", "--config", str(config), "--ready", "--json")
    away = command(*asked)
    assert (away.returncode, away.stdout) == (1, "")
    assert "does not answer" in away.stderr
    with Serving(config) as service:
        service.until(lambda: command(*asked).returncode == 0)
        assert json.loads(command(*asked).stdout) == {"status": "ready", "obstacles": []}
        assert json.loads(command(*asked[:3], "--json").stdout) == {"status": "alive"}
        broker.kill()
        service.until(lambda: command(*asked).returncode == 1)
        unwell = command(*asked)
        told = json.loads(unwell.stdout)
        assert told["status"] == "not ready"
        assert "not connected to the broker" in told["obstacles"][0]
        assert unwell.stderr.startswith("error: not ready: ")
