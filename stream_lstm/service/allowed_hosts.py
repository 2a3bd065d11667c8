"""By which names we may be asked for, where nobody is asked who they are.

A page from elsewhere may have its own name resolved to an address of ours: to the browser it then is the
same origin, and may read what we answer ("DNS rebinding"). But the browser still says that name in the header
`Host`; so what listens for this machine alone answers to addresses, to `localhost`, and to names that are
set. Syntax: RFC 9110, section 7.2, and RFC 6761, section 6.3.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]*)?")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens here."""
    address = _address(host)
    return address.is_loopback if address else _plain(host) == "localhost"


class AllowedHosts:
    """Knows by which names we may be asked for.

    Args:
        names: besides addresses and `localhost`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {_plain(name) for name in names}

    def allows(self, header: str | None) -> bool:
        """Whether this is one of them; None, as only programs leave it out, is."""
        if header is None:
            return True
        found = _HOST.fullmatch(header)
        if not found:
            return False
        host = _plain(found[1])
        local = host == "localhost" or host.endswith(".localhost")
        return local or host in self._names or _address(host.strip("[]")) is not None


def _plain(name: str) -> str:
    return name.lower().removesuffix(".") if name.isascii() else name


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
