"""Publications that several of our subscriptions match: one event each, however many copies come.

A broker may send one copy for each subscription that matches (MQTT 5.0, section 3.3.4). Subscriptions that
overlap have identifiers of their own, which each copy carries. A publication gives one copy for an
identifier, so of equal messages the number of publications is the largest number of copies that one
identifier has brought: a message that raises it is a publication, any other is a copy. That holds in any
order of the copies, for equal readings, and for brokers that send one copy with all identifiers.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence

MESSAGES_MAX = 65_536  # of different content: bounds memory; copies come close to one another


def overlap(first: str, second: str) -> bool:
    """True if there is a topic that both filters match."""
    one, other = _levels(first), _levels(second)
    if one[0] in ("+", "#") and other[0].startswith("$"):  # section 4.7.2
        return False
    if other[0] in ("+", "#") and one[0].startswith("$"):
        return False
    for ours, theirs in zip(one, other, strict=False):
        if "#" in (ours, theirs):
            return True
        if ours != theirs and "+" not in (ours, theirs):
            return False
    longer = max(one, other, key=len)
    rest = longer[min(len(one), len(other)) :]
    return rest in ([], ["#"])  # # also matches the level above it


def overlapping(filters: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of these filters that overlap, in order."""
    return [
        (one, other) for n, one in enumerate(filters) for other in filters[n + 1 :] if overlap(one, other)
    ]


def _levels(pattern: str) -> list[str]:
    levels = pattern.split("/")
    return levels[2:] if levels[0] == "$share" else levels


class CopyCounter:
    """Tells publications from their copies.

    Only messages with identifiers are asked about.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[int, int], Counter[int]] = OrderedDict()

    def is_copy(self, topic: int, digest: int, identifiers: Sequence[int]) -> bool:
        """True if the same publication came before, for another subscription.

        Args:
            topic: digest of the message's topic.
            digest: of its payload.
            identifiers: of the subscriptions for which it was sent.
        """
        key = topic, digest
        counts = self._seen.get(key)
        if counts is None:
            counts = self._seen[key] = Counter()
            if len(self._seen) > MESSAGES_MAX:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        before = max(counts.values(), default=0)
        counts.update(identifiers)
        return max(counts.values()) == before
