"""Every memory, dedup window and history that a test makes must be valid when the test ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from stream_lstm.core.dedup import DedupWindow
from stream_lstm.core.memory import Memories
from stream_lstm.core.views.history import History

VALIDATED_MAX = 16  # of each class, the last ones: a property makes hundreds


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[type, deque[Any]]]:
    """The last instances of each class, oldest first; a test that breaks one on purpose clears its deque."""
    instances: dict[type, deque[Any]] = {}
    for kind in (Memories, DedupWindow, History):
        instances[kind] = deque(maxlen=VALIDATED_MAX)
        _record(monkeypatch, kind, instances[kind])
    yield instances
    for some in instances.values():
        for instance in some:
            instance.validate()


def _record(monkeypatch: pytest.MonkeyPatch, kind: type, instances: deque[Any]) -> None:
    initialize = kind.__init__  # type: ignore[misc]

    def recording(self: Any, *args: Any, **options: Any) -> None:
        initialize(self, *args, **options)
        instances.append(self)

    monkeypatch.setattr(kind, "__init__", recording)
