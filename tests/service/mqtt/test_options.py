"""Options of the MQTT client: values that cannot work are rejected, and secrets are not shown."""

from __future__ import annotations

from typing import Any

import pytest

from stream_lstm.service.mqtt import ClientOptions, Credentials


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"keep_alive_seconds": 0}, "keep_alive"),
        ({"receive_maximum": 65_535}, "receive_maximum"),
        ({"packet_bytes_max": 127}, "packet_bytes_max"),
        ({"backoff_seconds_min": 40.0}, "backoff"),
        ({"inbox_messages_max": 0}, "limit"),
    ],
)
def test_options_that_cannot_work_are_rejected(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ClientOptions(host="h", client_id="c", **change)


def test_a_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Credentials("u", b"secret"))
