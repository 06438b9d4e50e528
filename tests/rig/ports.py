"""TCP ports of 127.0.0.1 for servers of the rig that must find theirs again after a restart.

A port that the kernel chose may be anybody's as soon as its server is down for a moment: test runs
side by side open thousands of connections, each with a local port out of the same range. So these
lie below that range, and each is reserved for the life of this process by an abstract Unix socket
of its name (which the kernel frees, however the process ends).
"""

from __future__ import annotations

import random
import socket

_PORTS = range(12_000, 32_000)  # Linux gives 32768 and above to connections

_reserved: list[socket.socket] = []


def reserve_port() -> int:
    """A port that nobody listens on, and that no other process of the test bench will be given."""
    while True:
        port = random.choice(_PORTS)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0tecmedhub-rig-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _reserved.append(claim)
        return port
