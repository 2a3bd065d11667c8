"""Asks a running service how it fares, for container engines and scripts."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from stream_lstm.errors import StreamLstmError
from stream_lstm.service.settings import HttpSettings

SECONDS_MAX = 3.0
ANSWER_BYTES_MAX = 65_536
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # where a service listens, and is found


class Unhealthy(StreamLstmError):
    """The service does not answer, or says that something is wrong.

    Attributes:
        answer: what it says, if it does.
    """

    def __init__(self, problem: str, answer: dict[str, Any] | None = None) -> None:
        super().__init__(problem)
        self.answer = answer


def ask(http: HttpSettings, *, ready: bool) -> dict[str, Any]:
    """What the service says: its `status`, and `obstacles` if it was asked whether it is ready.

    Args:
        http: where it listens.
        ready: whether it must also be connected, with its memory restored and a disk that accepts.

    Raises:
        Unhealthy: with the reason.
    """
    host = ANYWHERE.get(http.host, http.host)
    host = f"[{host}]" if ":" in host else host
    url = f"{'https' if http.cert_file else 'http'}://{host}:{http.port}/{'readyz' if ready else 'healthz'}"
    # It is ourselves that we ask, on this machine: our certificate names us as others see us.
    context = ssl._create_unverified_context() if http.cert_file else None
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with direct.open(url, timeout=SECONDS_MAX) as answer:
            told = json.loads(answer.read(ANSWER_BYTES_MAX))
            return {"status": str(told["status"]), **told}
    except urllib.error.HTTPError as error:
        with error:
            raise _unhealthy(error.read(ANSWER_BYTES_MAX)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unhealthy(f"{url} does not answer: {getattr(error, 'reason', error)}") from None


def _unhealthy(answer: bytes) -> Unhealthy:
    try:
        told = json.loads(answer)
        return Unhealthy("not ready: " + "; ".join(told["obstacles"]), told)
    except (ValueError, KeyError, TypeError):
        return Unhealthy("not healthy")
