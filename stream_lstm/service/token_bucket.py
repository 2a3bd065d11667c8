"""Token bucket: a rate limit that lets bursts through up to the bucket's size.

https://en.wikipedia.org/wiki/Token_bucket
"""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """Fills with time up to its size; more may be spent than it holds, which has to be earned back.

    Args:
        per_second: tokens that flow in.
        size: most tokens it holds; it starts full.
        clock: seconds, monotonic.
    """

    def __init__(self, per_second: float, size: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._size = size
        self._clock = clock
        self._tokens = size
        self._filled_at = clock()

    @property
    def tokens(self) -> float:
        """Tokens in it now; negative while it is overdrawn."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._filled_at) * self._per_second, self._size)
        self._filled_at = now
        return self._tokens

    def take(self, count: int) -> int:
        """Take up to this many whole tokens; returns how many there were."""
        taken = min(count, max(int(self.tokens), 0))
        self._tokens -= taken
        return taken

    def spend(self, tokens: float) -> None:
        """Take this many tokens, whether or not they are there."""
        self._tokens = self.tokens - tokens

    @property
    def overdrawn_seconds(self) -> float:
        """Time until it is no longer overdrawn; 0 if it is not."""
        return max(-self.tokens / self._per_second, 0.0)
