"""Process of the embedded broker: `python -m stream_lstm.demo.embedded CONFIG`."""

from __future__ import annotations

import sys

# Settings of rumqttd: MQTT 5 on the loopback address only.
CONFIG = """id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 1000
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "demo"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 1000
dynamic_filters = true
"""


def main(config: str) -> None:
    """Serve until the process is terminated."""
    from iotcore import IotCoreBroker

    IotCoreBroker(config_path=config).run_forever()


if __name__ == "__main__":
    main(sys.argv[1])
