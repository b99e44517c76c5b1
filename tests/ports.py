"""Ports for servers that tests start."""

import random
import socket

_BELOW_THOSE_OF_CLIENTS = range(10_000, 32_000)
"""The system gives connections, and servers that ask for any port, only higher ones (ip_local_port_range)."""
_chance = random.SystemRandom()


def free_port():
    """A port that nothing else on this machine is likely to take before a server listens there, or while it is away.

    One that the system chooses is soon given to another program again.
    """
    while True:
        port = _chance.choice(_BELOW_THOSE_OF_CLIENTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
