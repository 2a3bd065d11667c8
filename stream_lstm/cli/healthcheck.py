"""Health check of a running service, for container engines and scripts."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from stream_lstm.errors import StreamLstmError
from stream_lstm.service.settings import HttpSettings

SECONDS_MAX = 3.0  # below the 5 s that Dockerfile and compose.yaml give a check
ANSWER_BYTES_MAX = 65_536  # the answer is a status and a few sentences; bounds what a foreign server can send
# Loopback address of a service that listens on all addresses.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class Unhealthy(StreamLstmError):
    """The service does not answer, or reports a problem.

    Attributes:
        answer: the service's answer, if there is one.
    """

    def __init__(self, problem: str, answer: dict[str, Any] | None = None) -> None:
        super().__init__(problem)
        self.answer = answer


def ask(http: HttpSettings, *, ready: bool) -> dict[str, Any]:
    """Request the service's health: its `status`, and with `ready` its `obstacles`.

    Args:
        http: settings of the address.
        ready: also require a connection to the broker, a recovered memory and a writable disk.

    Raises:
        Unhealthy: the message says why.
    """
    host = LOOPBACK.get(http.host, http.host)
    host = f"[{host}]" if ":" in host else host
    url = f"{'https' if http.cert_file else 'http'}://{host}:{http.port}/{'readyz' if ready else 'healthz'}"
    # The certificate names the host as other machines know it, not the loopback address. No secret is sent.
    context = ssl._create_unverified_context() if http.cert_file else None
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with direct.open(url, timeout=SECONDS_MAX) as answer:
            content = json.loads(answer.read(ANSWER_BYTES_MAX))
            return {"status": str(content["status"]), **content}
    except urllib.error.HTTPError as error:
        with error:
            raise _unhealthy(error.read(ANSWER_BYTES_MAX)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unhealthy(f"{url} does not answer: {getattr(error, 'reason', error)}") from None


def _unhealthy(answer: bytes) -> Unhealthy:
    try:
        content = json.loads(answer)
        return Unhealthy("not ready: " + "; ".join(content["obstacles"]), content)
    except (ValueError, KeyError, TypeError):
        return Unhealthy("not healthy")
