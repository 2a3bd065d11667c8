"""Every state file that a store test closes as its owner keeps the invariants of `Database.validate`."""

from __future__ import annotations

import pytest

from stream_lstm.store.database import Database


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "damaged: the test breaks a state file's invariants on purpose")


@pytest.fixture(autouse=True)
def _invariants_hold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("damaged"):
        return
    close = Database.close

    def validate_and_close(database: Database) -> None:
        try:
            if database._files is not None:  # an owner that is still open; a reader may be behind
                database.validate()
        finally:
            close(database)

    monkeypatch.setattr(Database, "close", validate_and_close)
