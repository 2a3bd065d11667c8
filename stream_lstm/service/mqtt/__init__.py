"""The broker: the only room that speaks MQTT, and the only one that imports `mqtt5`."""

from stream_lstm.service.mqtt.client import Link, Observer
from stream_lstm.service.mqtt.granted import Verdict
from stream_lstm.service.mqtt.inbox import Arrival, Message
from stream_lstm.service.mqtt.options import Credentials, Filter, LinkOptions

__all__ = ["Arrival", "Credentials", "Filter", "Link", "LinkOptions", "Message", "Observer", "Verdict"]
