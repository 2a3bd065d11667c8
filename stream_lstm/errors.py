"""Everything that can go wrong, by whose fault it is.

StreamLstmError
├── PayloadError        the sensor's:    counted by reason, sent to the rejected topic, acknowledged
├── SettingsError       the operator's:  says which key and what to do; exit code 2
│   └── ModelError      … in a model file
├── BrokerError         the broker's or the network's: retried with back-off
│   ├── BrokerRefused   … it answered no (password, authorisation, quota)
│   ├── HungUp          … it closed the connection without a word
│   ├── ProtocolError   … it sent what MQTT 5 does not allow
│   └── SessionTaken    … another client uses our id: stop, do not fight
└── StateError          the disk's or the state file's
    ├── DiskFull        hold the batch in hand until it is committed
    ├── DiskFailed      never retried: stop, and recover from what is on disk
    ├── StateLocked     another service owns the file
    ├── StateMismatch   written by another format or for another model
    └── StateCorrupt    damaged: never replaced silently
"""

from __future__ import annotations


class StreamLstmError(Exception):
    """Root of all errors that this package raises on purpose."""


class PayloadError(StreamLstmError):
    """A sensor sent what cannot become an event.

    Attributes:
        reason: one of `stream_lstm.events.REASONS`, fit for a metric's label.
        detail: what exactly was wrong, for the rejected topic; never the payload itself.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def without_traceback(self) -> PayloadError:
        """The same to keep, without where it was raised.

        A raised error holds the frames that it came through. Where one of them holds the error in turn, both
        stay, with all messages at hand, until the garbage collector comes by.
        """
        return PayloadError(self.reason, self.detail)


class SettingsError(StreamLstmError):
    """The operator asked for what cannot be.

    Attributes:
        key: the setting (`mqtt.url`), option or file that is wrong.
        problem: what is wrong with it, and what to do.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class ModelError(SettingsError):
    """A model file cannot be used."""


class BrokerError(StreamLstmError):
    """The broker or the way to it failed; trying again may help."""


class BrokerRefused(BrokerError):
    """The broker answered, and the answer was no.

    Attributes:
        code: the MQTT 5 reason code (CONNACK, SUBACK or DISCONNECT).
        lasting: no retry will help until somebody changes a setting.
    """

    def __init__(self, message: str, *, code: int, lasting: bool) -> None:
        super().__init__(message)
        self.code = code
        self.lasting = lasting


class ConnectionDropped(BrokerError):
    """The broker closed a connection that served, and did not say why."""


class ProtocolError(BrokerError):
    """The broker sent bytes that MQTT 5 does not allow."""


class SessionTaken(BrokerError):
    """Another client connected with our client id (DISCONNECT 0x8E)."""


class StateError(StreamLstmError):
    """The state on disk cannot be read or written.

    Attributes:
        operation: what was being done ("commit", "open", …).
        path: the file.
        hint: what the operator can do.
    """

    def __init__(self, operation: str, path: str, problem: str, hint: str) -> None:
        super().__init__(f"{operation} {path}: {problem}; {hint}")
        self.operation = operation
        self.path = path
        self.problem = problem
        self.hint = hint


class DiskFull(StateError):
    """No space left: the same batch may be committed once there is some."""


class DiskFailed(StateError):
    """The disk failed or went read-only: what it holds is uncertain until it is read again."""


class StateLocked(StateError):
    """Another process owns the state file."""


class StateMismatch(StateError):
    """The state file is of another format or was made by another model."""


class StateCorrupt(StateError):
    """The state file is damaged."""
