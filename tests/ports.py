"""Ports for servers that tests start."""

import itertools
import random
import socket

_BELOW_THOSE_OF_CLIENTS = range(10_000, 32_000)
"""The system gives connections, and servers that ask for any port, only higher ones (ip_local_port_range)."""
_BLOCK = 100
_reserved = []
"""A block belongs to one process of tests at a time: to the one that has bound its name."""


def free_port():
    """A port that no other test gets, before a server listens there, or while it is away.

    One that the system chooses is soon given to another program again.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def _blocks():
    firsts = list(_BELOW_THOSE_OF_CLIENTS[::_BLOCK])
    random.SystemRandom().shuffle(firsts)
    for first in firsts:
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0faces-tests-ports-{first}")
        except OSError:
            holder.close()
            continue
        _reserved.append(holder)
        yield range(first, first + _BLOCK)
    raise RuntimeError("all ports for tests were used")


_ports = itertools.chain.from_iterable(_blocks())
