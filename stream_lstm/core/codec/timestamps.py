"""The time that a payload carries, as epoch seconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from stream_lstm.errors import PayloadError

TIME_MIN = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
TIME_AHEAD_SECONDS_MAX = 86_400.0  # a sensor's clock may be a time zone off, not more
# Epoch numbers tell their unit by their size: seconds end where milliseconds of 1973 begin.
EPOCH_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (math.inf, 1e9))
TEXT_BYTES_MAX = 64  # a decimal number in text
DECIMAL = re.compile(rb"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")


def epoch_seconds(stamp: object, arrived: float) -> float:
    """A time in a payload as epoch seconds.

    Args:
        stamp: a number (seconds, milli-, micro- or nanoseconds since 1970, told apart by their size) or
            text (ISO 8601, UTC where it names no zone; or such a number).
        arrived: the time now, epoch seconds.

    Raises:
        PayloadError: it cannot be read, lies before 2000, or more than a day ahead.
    """
    seconds = _epoch(stamp)
    if not TIME_MIN <= seconds <= arrived + TIME_AHEAD_SECONDS_MAX:
        raise PayloadError("bad_time", "the time lies before the year 2000 or more than a day ahead")
    return seconds


def _epoch(stamp: object) -> float:
    if type(stamp) is float:
        return _scaled(stamp)
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
    return _scaled(number)


def _scaled(number: float) -> float:
    """Seconds out of seconds, milli-, micro- or nanoseconds."""
    for most, unit in EPOCH_UNITS:
        if number < most:
            return number / unit
    return math.inf
