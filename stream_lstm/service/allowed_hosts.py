"""Check of the header `Host`, against DNS rebinding, for servers without authentication.

A web page can have its own domain name resolve to an address of this machine. The browser then treats our
answers as of the same origin, and the page may read them. The browser still sends that name in the header
`Host`, so a server for this machine only answers requests for addresses, `localhost` and configured names.
Syntax: RFC 9110, section 7.2, and RFC 6761, section 6.3.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]*)?")


def is_loopback(host: str) -> bool:
    """True if a server that listens on this host is reachable from this machine only."""
    address = _address(host)
    return address.is_loopback if address else _plain(host) == "localhost"


class AllowedHosts:
    """The host names that a request may name.

    Args:
        names: allowed in addition to addresses and `localhost`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {_plain(name) for name in names}

    def allows(self, header: str | None) -> bool:
        """True if a request with this header `Host` may be answered.

        Args:
            header: its value; None if it is missing, which is allowed: browsers always send it.
        """
        if header is None:
            return True
        found = _HOST.fullmatch(header)
        if not found:
            return False
        host = _plain(found[1])
        local = host == "localhost" or host.endswith(".localhost")
        return local or host in self._names or _address(host.strip("[]")) is not None


def _plain(name: str) -> str:
    """The name in lower case, without the dot of the root domain."""
    return name.lower().removesuffix(".") if name.isascii() else name


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
