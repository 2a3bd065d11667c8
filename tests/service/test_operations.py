"""Operation of the service: health checks, authentication, file permissions, secrets in outputs."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from stream_lstm.cli.healthcheck import Unhealthy, ask
from stream_lstm.service.settings import HttpSettings
from tests.brokers import Mosquitto, free_port
from tests.service.running import Serving, command, get

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


def test_healthcheck_distinguishes_alive_from_ready(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
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


def test_an_unexpected_answer_is_not_healthy(tmp_path: Path) -> None:
    class Unexpected(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/readyz" else 200)
            self.end_headers()
            self.wfile.write(b"what?")

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Unexpected) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = HttpSettings(port=server.server_port)
        with pytest.raises(Unhealthy, match="does not answer"):
            ask(settings, ready=False)
        with pytest.raises(Unhealthy, match="not healthy"):
            ask(settings, ready=True)
        server.shutdown()


def test_credentials_are_required_and_accepted_over_https(tmp_path: Path) -> None:
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
        with pytest.raises(ssl.SSLCertVerificationError):  # without our CA the certificate is not trusted
            ssl.create_default_context().wrap_socket(
                socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
            )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_offers_the_commands(shell: str) -> None:
    made = command("completion", shell)
    assert made.returncode == 0
    assert "_STREAM_LSTM_COMPLETE" in made.stdout
    asked = {"COMP_WORDS": "stream-lstm hea", "COMP_CWORD": "1", "_STREAM_LSTM_COMPLETE": "bash_complete"}
    main = "from stream_lstm.cli import main; main(prog_name='stream-lstm')"
    found = subprocess.run(
        [sys.executable, "-c", main], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert "healthcheck" in found.stdout


def test_a_state_file_that_other_users_can_read_is_reported(tmp_path: Path) -> None:
    state = tmp_path / "s.db"
    config = written(
        tmp_path,
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[state]\npath = "{state}"\n[http]\nport = 0\n',
    )
    with Serving(config) as service:
        service.until(lambda: "not connected" in service.log.read_text())
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("s.db*")} == {0o600}
        assert "chmod 600" not in service.log.read_text()
    state.chmod(0o644)
    with Serving(config) as service:
        service.until(lambda: "chmod 600" in service.log.read_text())


def test_no_secret_appears_in_any_output(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker, port, secret = mosquitto(anonymous=False), free_port(), tmp_path / "mqtt"
    secret.write_text(SECRETS["mqtt.password_file"])
    outputs: list[str] = []
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
            service.until(lambda service=service: "mqtt.username" in service.log.read_text())
            bearer = f"Bearer {SECRETS['http.token']}"
            outputs += [
                get(f"http://127.0.0.1:{port}{path}")[1] for path in ("/readyz", "/healthz", "/metrics")
            ]
            status, page = get(f"http://127.0.0.1:{port}/metrics", Authorization=bearer)
            assert status == 200
            outputs += [page, service.log.read_text(), shown.stdout, shown.stderr]
    # An error in the file that holds a secret, and a crash with all settings in its traceback.
    wrong = written(tmp_path, config.read_text() + "nonsense = 1\n")
    outputs += [command("run", "--config", str(wrong)).stderr]
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
    outputs += [dumped.stdout, dumped.stderr]
    everything = "\n".join(outputs)
    assert "**********" in dumped.stdout  # masked: the secrets were there
    for secret_text in SECRETS.values():
        assert secret_text not in everything
        assert not re.search(re.escape(secret_text.encode().hex()), everything)


def test_invalid_settings_end_a_command_with_exit_code_2_and_the_key(tmp_path: Path) -> None:
    config = written(tmp_path, '[http]\nusername = "a"\n')
    rejected = command("check", "--config", str(config))
    assert rejected.returncode == 2
    assert "go together" in rejected.stderr
    rejected = command("check", STREAM_LSTM_MQTT_URL="mqtt://broker")
    assert rejected.returncode == 2
    assert "did you mean STREAM_LSTM__MQTT__URL?" in rejected.stderr
    assert command("check", STREAM_LSTM_PORT_8080_TCP="tcp://10.0.0.1:8080").returncode == 0


def test_an_empty_token_never_switches_authentication_off(tmp_path: Path) -> None:
    for lines in ('token = ""', 'username = "me"\npassword = ""'):
        rejected = command("check", "--config", str(written(tmp_path, f"[http]\n{lines}\n")))
        assert rejected.returncode == 2
        assert "is empty" in rejected.stderr
    for name in ("STREAM_LSTM__HTTP__TOKEN", "STREAM_LSTM__HTTP__TOKEN_FILE"):
        rejected = command("check", **{name: ""})
        assert rejected.returncode == 2
        assert f"{name}: is empty" in rejected.stderr
    empty = tmp_path / "empty"
    empty.write_text("\n")
    config = written(tmp_path, f'[http]\nport = 0\ntoken_file = "{empty}"\n[state]\npath = "{tmp_path}/s"\n')
    rejected = command("run", "--config", str(config))
    assert rejected.returncode == 2
    assert "http.token_file" in rejected.stderr
    assert json.dumps(str(empty))[1:-1] in rejected.stderr


def test_http_open_to_the_network_without_credentials_is_reported(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[state]\npath = "{tmp_path}/s.db"\n'
        '[http]\nhost = "0.0.0.0"\nport = 0\n',
    )
    with Serving(config) as service:
        service.until(lambda: "http.token_file" in service.log.read_text())


def test_healthcheck_prints_json(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
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
        unhealthy = command(*asked)
        answer = json.loads(unhealthy.stdout)
        assert answer["status"] == "not ready"
        assert "not connected to the broker" in answer["obstacles"][0]
        assert unhealthy.stderr.startswith("error: not ready: ")
