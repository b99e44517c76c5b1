"""Which network addresses are whose: of proxies, of this machine, of the internet."""

from __future__ import annotations

import ipaddress
from typing import Iterable, List, Optional, Sequence, Tuple, Union

from app.errors import SettingsError

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC: Tuple[Network, ...] = (
    ipaddress.IPv4Network("100.64.0.0/10"),
    # Metadata of Azure's machines, which looks like an address of the internet.
    ipaddress.IPv4Network("168.63.129.16/32"),
    # Versions of Python differ about these.
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)


def listed(text: Optional[str]) -> Tuple[str, ...]:
    """The items of a setting that has several, separated by commas."""
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())


def networks(text: Optional[str], name: str) -> Tuple[Network, ...]:
    """Those that a setting lists. Raises SettingsError."""
    found: List[Network] = []
    for item in listed(text):
        try:
            found.append(ipaddress.ip_network(item, strict=False))
        except ValueError as error:
            raise SettingsError(
                f"{name}: {item!r}: expected an address or a network, such as 192.168.1.5 or 192.168.1.0/24"
            ) from error
    return tuple(found)


def parsed(text: str) -> Optional[Address]:
    """The address of a text; of an IPv6 address that stands for one of IPv4, that one."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        embedded = address.sixtofour or (address.teredo and address.teredo[1])
        if embedded:
            return embedded
    return address


def within(address: Optional[Address], among: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in among)


def is_public(address: Optional[Address]) -> bool:
    """Whether it is of the internet, and not of this machine, its network or its provider."""
    return (
        address is not None
        and address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and not within(address, _NOT_PUBLIC)
    )


def forwarded_client(header: str, proxies: Sequence[Network]) -> Optional[str]:
    """The client that an X-Forwarded-For names: the last address that no proxy of ours has. What is before it may be
    invented by the client."""
    for item in reversed(header.split(",")):
        text = item.strip()
        if text.startswith("["):
            text = text[1:].partition("]")[0]
        elif text.count(":") == 1:
            text = text.partition(":")[0]
        address = parsed(text)
        if address is None:
            return None
        if not within(address, proxies):
            return str(address)
    return None
