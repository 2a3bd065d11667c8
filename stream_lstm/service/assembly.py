"""Makes of the settings what the service is put together from."""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path

from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.file import Model
from stream_lstm.core.record import row_type
from stream_lstm.errors import ModelError, SettingsError
from stream_lstm.service import tls
from stream_lstm.service.mqtt import ClientOptions, Credentials, Filter
from stream_lstm.service.settings.load import Settings
from stream_lstm.service.settings.sections import MqttSettings
from stream_lstm.store.files import Identity


def load_model(path: Path | None) -> Model:
    """The model of this path, or the default model that is shipped inside.

    Raises:
        ModelError: there is no such file, or it is no model of ours.
    """
    if path is None:
        content = resources.files("stream_lstm.models").joinpath("default.safetensors").read_bytes()
        return model_file.from_bytes(content, source="the default model")
    try:
        return model_file.from_bytes(path.read_bytes(), source=str(path))
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}") from None


def identity(model: Model) -> Identity:
    """What a state file of this model says of itself."""
    kind = row_type(model.spec)
    return Identity(model=model.id, row=repr(kind.descr), row_bytes=kind.itemsize)


def decoder(settings: Settings, model: Model) -> Decoder:
    """The decoder of these subscriptions.

    Raises:
        SettingsError: they do not fit the model.
    """
    try:
        return Decoder(
            [entry.source() for entry in settings.subscribe],
            model.spec.features,
            payload_bytes_max=settings.limits.payload_bytes_max,
            key_bytes_max=settings.limits.key_bytes_max,
        )
    except ValueError as error:
        raise SettingsError("subscribe.fields", str(error)) from None


def credentials(mqtt: MqttSettings) -> Credentials:
    """Read anew what may have been replaced: password, certificates, keys.

    Raises:
        SettingsError: a file cannot be used.
    """
    context = None
    if mqtt.encrypted:
        context = tls.to_broker(
            ca=mqtt.ca_file,
            certificate=mqtt.cert_file,
            key=mqtt.key_file,
            password=mqtt.key_password_file,
            least=mqtt.tls_version_min,
        )
    return Credentials(mqtt.username, mqtt.secret(), context)


def client_options(settings: Settings, *, session_expected: bool = False) -> ClientOptions:
    """What the link needs to know of the settings.

    Args:
        session_expected: there is state, so the broker should have kept a session.
    """
    mqtt, limits = settings.mqtt, settings.limits
    credentials(mqtt)  # what is wrong with them is said before anything begins
    return ClientOptions(
        host=mqtt.host,
        port=mqtt.port,
        client_id=mqtt.client_id,
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
    """Where the broker says what it dropped; empty if events are read from there, which they then stay."""
    topic = settings.mqtt.dropped_topic
    read = any(entry.source().pattern.match(topic) is not None for entry in settings.subscribe)
    return "" if read else topic
