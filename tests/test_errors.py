"""Errors: the tree in the docstring, and what an error carries."""

from __future__ import annotations

import inspect
import re

from stream_lstm import errors
from stream_lstm.errors import PayloadError, SettingsError, StateError


def test_the_tree_in_the_docstring_lists_every_error() -> None:
    listed = re.findall(r"^(?:[│├└─ ]*)([A-Z]\w+)(?:$|  )", errors.__doc__ or "", re.M)
    assert sorted(listed) == sorted(name for name, _ in inspect.getmembers(errors, inspect.isclass))


def test_an_error_to_store_is_equal_and_has_no_traceback() -> None:
    try:
        raise PayloadError("late", "3 s older")
    except PayloadError as error:
        stored = error.without_traceback()
    assert (stored.reason, stored.detail, stored.__traceback__) == ("late", "3 s older", None)


def test_messages_name_what_is_wrong_where_and_what_to_do() -> None:
    assert str(SettingsError("mqtt.url", "must be mqtt://host:port")) == "mqtt.url: must be mqtt://host:port"
    assert str(StateError("commit", "a.db", "no space", "free some")) == "commit a.db: no space; free some"
