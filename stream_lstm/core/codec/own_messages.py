"""Recognition of messages that a stream_lstm service has published, by the shape of their payloads.

They are never events, whichever service published them and on whatever topic they come back: two services
that subscribe to each other's topics would otherwise predict each other's predictions for ever. A message
also carries a mark as a user property (`stream_lstm.service.broker.MARK`); bridges to MQTT 3.1.1 drop that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TEXT = rb'"(?:[^"\\]|\\.)*+"'
# In the order in which `stream_lstm.core.codec.encoder` and the staleness monitor write the fields.
_SHAPES = re.compile(
    rb'\{"stream":'
    + _TEXT
    + rb',"(?:seq":\d+,"time":[-+.\de]+,"clock":"|stale":(?:true|false),"silent_seconds":)'
    rb'|\{"topic":'
    + _TEXT
    + rb',"reason":"[a-z_]+","detail":'
    + _TEXT
    + rb',"time":[-+.\de]+,"payload_bytes":'
)
_SIGNS = b'{"stream":"', b'"payload_bytes":'


def is_own(payload: bytes) -> bool:
    """True if a payload has the shape of a prediction, an alert, a change of staleness or a rejection."""
    return _SHAPES.match(payload) is not None


def may_be_own(payloads: Sequence[bytes]) -> bool:
    """False if none of these has such a shape; costs some nanoseconds each."""
    joined = b"\n".join(payloads)
    return any(sign in joined for sign in _SIGNS)
