"""Components of the service, built from its settings: model, decoder, credentials, client options."""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path

from stream_lstm.core import conversion
from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.state import RecordShape
from stream_lstm.errors import ModelError, SettingsError
from stream_lstm.service import tls
from stream_lstm.service.mqtt import ClientOptions, Credentials, Filter
from stream_lstm.service.settings import MqttSettings, Settings
from stream_lstm.store.files import FormerLayout, Identity

# Followed by the name of the state's owner, so that each service has its own; a state of 0.1 has none.
# With it 20 characters: every broker must allow 23 (3.1.3.1).
CLIENT_ID = "stream-lstm"


def load_model(path: Path | None) -> LstmModel:
    """Load a model file.

    Args:
        path: the file; None: the default model, which is part of the package.

    Raises:
        ModelError: the file cannot be read, or is not a model of ours.
    """
    if path is None:
        content = resources.files("stream_lstm.models").joinpath("default.safetensors").read_bytes()
        return model_file.from_bytes(content, source="the default model")
    try:
        return model_file.from_bytes(path.read_bytes(), source=str(path))
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None


def identity(model: LstmModel) -> Identity:
    """The identity that a state file of this model carries."""
    shape = RecordShape.of(model.spec)
    return Identity(model=model.id, row=shape.describe(), row_bytes=shape.dtype.itemsize)


def former_layouts(model: LstmModel) -> list[FormerLayout]:
    """Layouts of earlier releases whose records this one converts."""
    shape = RecordShape.of(model.spec)

    def convert(records: bytes) -> bytes:
        return conversion.converted(records, shape).tobytes()

    former = conversion.former_type(shape)
    return [FormerLayout(conversion.former_layout(shape), former.itemsize, convert)]


def decoder(settings: Settings, model: LstmModel) -> Decoder:
    """Build the decoder of the subscriptions.

    Raises:
        SettingsError: a subscription does not fit the model.
    """
    try:
        return Decoder(
            [entry.source() for entry in settings.subscribe],
            model.spec.features,
            payload_bytes_max=settings.limits.payload_bytes_max,
            key_bytes_max=settings.limits.key_bytes_max,
            fields_max=settings.limits.fields_max,
        )
    except ValueError as error:
        raise SettingsError("subscribe.fields", str(error)) from None


def credentials(mqtt: MqttSettings) -> Credentials:
    """Read the files that may be replaced while the service runs: password, certificates, keys.

    Raises:
        SettingsError: a file cannot be used.
    """
    context = None
    if mqtt.encrypted:
        context = tls.client_context(
            ca=mqtt.ca_file,
            certificate=mqtt.cert_file,
            key=mqtt.key_file,
            key_password=mqtt.key_password_file,
            version_min=mqtt.tls_version_min,
        )
    return Credentials(mqtt.username, mqtt.read_password(), context)


def client_options(settings: Settings, *, name: str = "", session_expected: bool = False) -> ClientOptions:
    """Build the options of the MQTT client.

    Args:
        settings: all settings.
        name: of the state's owner, part of the default client id; empty: none.
        session_expected: True if there is state, so that the broker should have kept a session.

    Raises:
        SettingsError: a password, certificate or key file cannot be used.
    """
    mqtt, limits = settings.mqtt, settings.limits
    credentials(mqtt)  # raise now, not at the first connection
    return ClientOptions(
        host=mqtt.host,
        port=mqtt.port,
        client_id=mqtt.client_id or (f"{CLIENT_ID}-{name}" if name else CLIENT_ID),
        credentials=partial(credentials, mqtt),
        server_name=mqtt.server_name,
        keep_alive_seconds=mqtt.keep_alive_seconds,
        connect_seconds_max=mqtt.connect_seconds_max,
        session_expiry_seconds=mqtt.session_expiry_seconds,
        session_expected=session_expected,
        receive_maximum=mqtt.receive_maximum,
        packet_bytes_max=mqtt.packet_bytes_max,
        filters=[Filter(entry.source().pattern.filter, entry.qos) for entry in settings.subscribe],
        publish_qos=settings.publish.qos,
        publish_retain=settings.publish.retain,
        status_topic=mqtt.status_topic,
        dropped_topic=_dropped_topic(settings),
        watched=[Filter(mqtt.freeze_topic, 1)] if mqtt.freeze_topic else [],
        backoff_seconds_min=mqtt.reconnect_seconds_min,
        backoff_seconds_max=mqtt.reconnect_seconds_max,
        inbox_messages_max=limits.inbox_messages_max,
        inbox_bytes_max=limits.inbox_bytes_max,
    )


def _dropped_topic(settings: Settings) -> str:
    """Topic of the broker's count of dropped messages; empty if a subscription reads it as events."""
    topic = settings.mqtt.dropped_topic
    subscribed = any(entry.source().pattern.match(topic) is not None for entry in settings.subscribe)
    return "" if subscribed else topic
