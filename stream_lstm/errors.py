"""Errors that this package raises on purpose, by whose fault they are.

StreamLstmError
├── PayloadError             the sensor's: counted by reason, published as rejected, acknowledged
├── SettingsError            the operator's: names the key and the remedy; exit code 2
│   └── ModelError           … in a model file
├── BrokerError              the broker's or the network's: retried with back-off
│   ├── BrokerRefused        … it answered with an error code (password, authorisation, quota)
│   ├── ConnectionDropped    … it closed the connection without a reason
│   ├── ProtocolError        … it sent bytes that MQTT 5 does not allow
│   └── SessionTaken         … another client uses our client id: stop, do not reconnect
└── StateError               the disk's or the state file's
    ├── DiskFull             hold the batch until it can be committed
    ├── DiskFailed           never retried: stop, and recover from what is on disk
    ├── StateLost            deleted, replaced or cut while it was open: acknowledge nothing more, stop
    ├── StateLocked          another service owns the file
    ├── StateMismatch        written in another format or for another model
    └── StateCorrupt         damaged: never replaced silently
"""

from __future__ import annotations


class StreamLstmError(Exception):
    """Root of all errors that this package raises on purpose."""


class PayloadError(StreamLstmError):
    """A message, or a field of one, cannot become an event.

    Attributes:
        reason: a key of `stream_lstm.events.REASONS`, used as a metric label.
        detail: what exactly is wrong, for the rejected topic; never the payload itself.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def without_traceback(self) -> PayloadError:
        """An equal error to store.

        The traceback of a raised error references the frames that it passed through. If one of these frames
        references the error, they form a cycle, which keeps their messages alive until the garbage collector
        runs.
        """
        return PayloadError(self.reason, self.detail)


class SettingsError(StreamLstmError):
    """A setting, an option or a file is invalid.

    Attributes:
        key: the setting (`mqtt.url`), option or file.
        problem: what is wrong with it, and what to do.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class ModelError(SettingsError):
    """A model file cannot be used."""


class BrokerError(StreamLstmError):
    """The broker or the network failed; a retry may succeed."""


class BrokerRefused(BrokerError):
    """The broker answered with an error code.

    Attributes:
        code: the MQTT 5 reason code (CONNACK, SUBACK or DISCONNECT).
        lasting: True if no retry succeeds until a setting is changed, here or at the broker.
    """

    def __init__(self, message: str, *, code: int, lasting: bool) -> None:
        super().__init__(message)
        self.code = code
        self.lasting = lasting


class ConnectionDropped(BrokerError):
    """The broker closed an established connection without a reason."""


class ProtocolError(BrokerError):
    """The broker sent bytes that MQTT 5 does not allow."""


class SessionTaken(BrokerError):
    """Another client connected with our client id (DISCONNECT, reason code 0x8E)."""


class StateError(StreamLstmError):
    """The state on disk cannot be read or written.

    Attributes:
        operation: what failed ("commit", "open", …).
        path: the file.
        problem: what is wrong.
        hint: what the operator can do.
    """

    def __init__(self, operation: str, path: str, problem: str, hint: str) -> None:
        super().__init__(f"{operation} {path}: {problem}; {hint}")
        self.operation = operation
        self.path = path
        self.problem = problem
        self.hint = hint


class DiskFull(StateError):
    """No space left; the same batch can be committed once there is space."""


class DiskFailed(StateError):
    """The disk failed or became read-only; its content is uncertain until it is read again."""


class StateLost(StateError):
    """The state file was deleted, moved, replaced or cut while the service had it open."""


class StateLocked(StateError):
    """Another process owns the state file."""


class StateMismatch(StateError):
    """The state file has another format or belongs to another model."""


class StateCorrupt(StateError):
    """The state file is damaged."""
