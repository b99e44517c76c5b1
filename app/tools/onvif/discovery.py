"""Which ONVIF devices answer in the networks of this machine (WS-Discovery)."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
import uuid
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Tuple
from urllib.parse import unquote, urlsplit

from app.tools.onvif.markup import Element, MarkupError, parse

GROUP = ("239.255.255.250", 3702)
MAX_DEVICES = 500
_TIMES_ASKED = 2
"""Datagrams get lost."""
_PROBE = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:n="http://www.onvif.org/ver10/network/wsdl">
<s:Header><a:Action s:mustUnderstand="1">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>
<a:MessageID>{message}</a:MessageID>
<a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header>
<s:Body><d:Probe><d:Types>n:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>"""
_SCOPE = re.compile(r"onvif://www\.onvif\.org/(name|hardware|location)/(.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Device:
    address: str
    """Of its device service."""
    name: str = ""
    hardware: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.address).hostname or ""


def discover(wait_s: float, ask: Tuple[str, int] = GROUP) -> List[Device]:
    """The devices that answer within this time. `ask` is a group or a single device."""
    message = f"urn:uuid:{uuid.uuid4()}"
    found: Dict[str, Device] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind(("", 0))
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
        deadline = time.monotonic() + wait_s
        for turn in range(_TIMES_ASKED):
            _send(asking, _PROBE.format(message=message).encode(), ask)
            until = deadline - wait_s * (_TIMES_ASKED - 1 - turn) / _TIMES_ASKED
            for data, host in _answers(asking, until):
                device = read_answer(data, host, message)
                if device is not None and len(found) < MAX_DEVICES:
                    found.setdefault(device.address, device)
    return sorted(found.values(), key=lambda device: device.address)


def read_answer(data: bytes, host: str, message: str) -> Optional[Device]:
    """The device that has answered from this host; None for anything but an answer to this message."""
    try:
        envelope = parse(data)
    except MarkupError:
        return None
    match = envelope.first("Body", "ProbeMatch")
    if match is None or envelope.said("Header", "RelatesTo").rpartition(":")[2] != message.rpartition(":")[2]:
        return None
    address = _device_service(match, host)
    if address is None:
        return None
    scopes: Dict[str, str] = {}
    for scope in match.said("Scopes").split():
        known = _SCOPE.fullmatch(scope)
        if known is not None:
            scopes.setdefault(known[1].lower(), unquote(known[2])[:100])
    return Device(address, scopes.get("name", ""), scopes.get("hardware", ""))


def at_host(address: str, host: str) -> Optional[str]:
    """The address, at this host: devices give addresses that they do not have, and none must send us elsewhere."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[!-~]*", address):
        return None
    place = f"[{host}]" if ":" in host else host
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{parts.path or '/'}{query}"


def _device_service(match: Element, host: str) -> Optional[str]:
    given = match.said("XAddrs").split()
    # The one that the device really has comes first, then one without TLS, whose certificates no one can verify.
    ranked = sorted(given, key=lambda address: (f"//{host}" not in address, not address.startswith("http://")))
    return next(filter(None, (at_host(address, host) for address in ranked)), None)


def _send(asking: socket.socket, probe: bytes, ask: Tuple[str, int]) -> None:
    if not 224 <= int(ask[0].partition(".")[0]) <= 239:
        asking.sendto(probe, ask)
        return
    for number, _ in socket.if_nameindex():
        # A network that is down, or has no multicast, has no cameras for us.
        with contextlib.suppress(OSError):
            asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", b"", b"", number))
            asking.sendto(probe, ask)


def _answers(asking: socket.socket, until: float) -> Iterator[Tuple[bytes, str]]:
    while True:
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        asking.settimeout(left_s)
        try:
            data, sender = asking.recvfrom(65536)
        except socket.timeout:
            return
        except OSError:
            # A host that was asked alone has said that nothing listens there.
            continue
        yield data, sender[0]
