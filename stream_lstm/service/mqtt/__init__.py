"""MQTT 5 client; the only package that imports `mqtt5`."""

from stream_lstm.service.broker import Arrival, Message
from stream_lstm.service.mqtt.client import MqttClient, Observer
from stream_lstm.service.mqtt.granted import Granted
from stream_lstm.service.mqtt.options import ClientOptions, Credentials, Filter
from stream_lstm.service.mqtt.takeover import ClientSignature

__all__ = [
    "Arrival",
    "ClientOptions",
    "ClientSignature",
    "Credentials",
    "Filter",
    "Granted",
    "Message",
    "MqttClient",
    "Observer",
]
