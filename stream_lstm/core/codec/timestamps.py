"""Timestamps in payloads, as epoch seconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from stream_lstm.errors import PayloadError

TIME_MIN = datetime(2000, 1, 1, tzinfo=UTC).timestamp()  # an earlier clock has not been set
TIME_AHEAD_SECONDS_MAX = 86_400.0  # a sensor's clock may be a time zone off, not more
# An epoch number's size tells its unit: below each limit it counts this many per second. The first limit is
# the year 5138 in seconds, and 1973 in milliseconds.
EPOCH_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (math.inf, 1e9))
TEXT_BYTES_MAX = 64  # of a number or a time in text; a double has 24 characters at most
DECIMAL = re.compile(rb"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")


def epoch_seconds(stamp: object, arrived: float) -> float:
    """A timestamp as epoch seconds.

    Args:
        stamp: a number (seconds, milli-, micro- or nanoseconds since 1970, distinguished by their size), or
            text (such a number, or ISO 8601, in UTC unless it names a zone).
        arrived: arrival of the message, epoch seconds.

    Raises:
        PayloadError: it cannot be read, lies before 2000, or more than a day after the arrival.
    """
    seconds = _epoch(stamp)
    if not TIME_MIN <= seconds <= arrived + TIME_AHEAD_SECONDS_MAX:
        raise PayloadError("bad_time", "the time lies before the year 2000 or more than a day ahead")
    return seconds


def _epoch(stamp: object) -> float:
    if type(stamp) is float:
        return in_seconds(stamp)
    try:
        if isinstance(stamp, str):
            if len(stamp) > TEXT_BYTES_MAX:
                raise ValueError
            if not DECIMAL.fullmatch(stamp.encode("utf-8", "surrogatepass")):
                moment = datetime.fromisoformat(stamp)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            stamp = float(stamp)
        if isinstance(stamp, bool) or not isinstance(stamp, (int, float)):
            raise ValueError
        number = float(stamp)
    except (ValueError, OverflowError):
        raise PayloadError("bad_time", "the time is neither an epoch number nor ISO 8601") from None
    return in_seconds(number)


def in_seconds(number: float) -> float:
    """Seconds from seconds, milli-, micro- or nanoseconds, distinguished by the number's size."""
    for limit, per_second in EPOCH_UNITS:
        if number < limit:
            return number / per_second
    return math.inf
