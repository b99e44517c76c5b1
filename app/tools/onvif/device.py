"""The streams of one ONVIF device: GetProfiles and GetStreamUri, with a password that is never sent itself."""

from __future__ import annotations

import base64
import datetime
import hashlib
import secrets
from dataclasses import dataclass
from types import MappingProxyType
from typing import List, Mapping, Optional, Tuple
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from app.credentials import without_credentials
from app.errors import AccessDeniedError, SourceError
from app.http_request import Reply, RequestError, request
from app.tools.onvif.challenge import authorization
from app.tools.onvif.discovery import at_host
from app.tools.onvif.markup import MAX_BYTES, Element, MarkupError, parse

MAX_PROFILES = 32
_SCHEMA = "http://www.onvif.org/ver10/schema"
_DEVICE = "http://www.onvif.org/ver10/device/wsdl"
_MEDIA = "http://www.onvif.org/ver10/media/wsdl"
_SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
_DIGEST = f"{_SECURITY}-username-token-profile-1.0#PasswordDigest"
_BASE64 = f"{_SECURITY}-soap-message-security-1.0#Base64Binary"


@dataclass(frozen=True)
class Stream:
    name: str
    address: str
    """As the device gives it, without user and password."""
    width: int
    height: int
    codec: str
    fps: Optional[float]

    @property
    def pixels(self) -> int:
        return self.width * self.height


class OnvifDevice:
    def __init__(self, address: str, login: Optional[Tuple[str, str]], timeout_s: float) -> None:
        """`address` is that of the device service; `login` user and password."""
        self._address = address
        self._host = urlsplit(address).hostname or ""
        self._login = login
        self._timeout_s = timeout_s
        self._ahead = datetime.timedelta()
        """How much the device's clock is ahead of ours: tokens have to be from its time."""

    def streams(self) -> List[Stream]:
        """The largest first. Raises SourceError, or AccessDeniedError for a missing or wrong user or password."""
        self._ahead = self._clock_ahead()
        media = self._media_service()
        profiles = list(self._ask(media, f'<GetProfiles xmlns="{_MEDIA}"/>').all("Profiles"))[:MAX_PROFILES]
        found = [stream for profile in profiles for stream in [self._stream(media, profile)] if stream is not None]
        return sorted(found, key=lambda stream: -stream.pixels)

    def _stream(self, media: str, profile: Element) -> Optional[Stream]:
        encoder = profile.first("VideoEncoderConfiguration")
        if encoder is None:
            return None
        setup = (
            f'<StreamSetup><Stream xmlns="{_SCHEMA}">RTP-Unicast</Stream>'
            f'<Transport xmlns="{_SCHEMA}"><Protocol>RTSP</Protocol></Transport></StreamSetup>'
        )
        token = escape(profile.attributes.get("token", ""))
        answer = self._ask(
            media, f'<GetStreamUri xmlns="{_MEDIA}">{setup}<ProfileToken>{token}</ProfileToken></GetStreamUri>'
        )
        address = answer.said("MediaUri", "Uri") or answer.said("Uri")
        if not address.startswith(("rtsp://", "rtsps://")) or any(not "!" <= letter <= "~" for letter in address):
            raise SourceError(f"{self._host}: the address of a stream that is none: {address[:100]!r}")
        return Stream(
            name=profile.said("Name")[:100],
            address=without_credentials(address),
            width=_whole(encoder.said("Resolution", "Width")),
            height=_whole(encoder.said("Resolution", "Height")),
            codec=encoder.said("Encoding")[:20],
            fps=float(_whole(encoder.said("FrameRateLimit"))) or None,
        )

    def _clock_ahead(self) -> datetime.timedelta:
        """Nothing for a device that does not say what time it is."""
        now = datetime.datetime.now(datetime.timezone.utc)
        try:
            answer = self._ask(self._address, f'<GetSystemDateAndTime xmlns="{_DEVICE}"/>', with_login=False)
        except AccessDeniedError:
            return datetime.timedelta()
        said = answer.first("UTCDateTime")
        if said is None:
            return datetime.timedelta()
        parts = [said.said(*path) for path in (("Date", "Year"), ("Date", "Month"), ("Date", "Day"))]
        parts += [said.said("Time", part) for part in ("Hour", "Minute", "Second")]
        try:
            year, month, day, hour, minute, second = map(_whole, parts)
            there = datetime.datetime(year, month, day, hour, minute, min(59, second), tzinfo=datetime.timezone.utc)
        except ValueError:
            return datetime.timedelta()
        return there - now

    def _media_service(self) -> str:
        body = f'<GetCapabilities xmlns="{_DEVICE}"><Category>Media</Category></GetCapabilities>'
        answer = self._ask(self._address, body)
        address = at_host(answer.said("Capabilities", "Media", "XAddr"), self._host)
        if address is None:
            raise SourceError(f"{self._host}: a device without streams")
        return address

    def _ask(self, address: str, body: str, with_login: bool = True) -> Element:
        header = self._header() if with_login and self._login is not None else ""
        envelope = (
            '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
            f"{header}<s:Body>{body}</s:Body></s:Envelope>"
        )
        reply = self._post(address, envelope)
        if reply.status == 401 and with_login and self._login is not None:
            # Some devices take no tokens, only what HTTP has.
            answer_to_challenge = authorization(reply.headers.get_all("WWW-Authenticate") or [], address, *self._login)
            if answer_to_challenge is not None:
                reply = self._post(address, envelope, {"Authorization": answer_to_challenge})
        if reply.status in (401, 403):
            raise self._denied()
        try:
            answer = parse(reply.body)
        except MarkupError as error:
            raise SourceError(f"{self._host} answered {reply.status} with {error}") from error
        fault = answer.first("Body", "Fault")
        if fault is not None:
            codes = " ".join(value.text for value in fault.all("Value"))
            if "NotAuthorized" in codes or "FailedAuthentication" in codes:
                raise self._denied()
            raise SourceError(f"{self._host}: {(fault.said('Reason') or fault.said('Text') or codes)[:200]!r}")
        return answer

    def _post(self, address: str, envelope: str, more: Mapping[str, str] = MappingProxyType({})) -> Reply:
        headers = {"Content-Type": "application/soap+xml; charset=utf-8", **more}
        try:
            return request("POST", address, envelope.encode(), headers, timeout_s=self._timeout_s, max_bytes=MAX_BYTES)
        except RequestError as error:
            raise SourceError(str(error)) from error

    def _denied(self) -> AccessDeniedError:
        if self._login is None:
            return AccessDeniedError(f"{self._host} needs a user: --user NAME --password env:NAME or file:PATH")
        return AccessDeniedError(
            f"{self._host} refused the user or the password; on many cameras, users of ONVIF are separate ones"
        )

    def _header(self) -> str:
        user, password = self._login or ("", "")
        nonce = secrets.token_bytes(16)
        created = (datetime.datetime.now(datetime.timezone.utc) + self._ahead).strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha1(nonce + created.encode() + password.encode()).digest()
        return (
            f'<s:Header><Security xmlns="{_SECURITY}-wssecurity-secext-1.0.xsd" s:mustUnderstand="1"><UsernameToken>'
            f'<Username>{escape(user)}</Username><Password Type="{_DIGEST}">{_encoded(digest)}</Password>'
            f'<Nonce EncodingType="{_BASE64}">{_encoded(nonce)}</Nonce>'
            f'<Created xmlns="{_SECURITY}-wssecurity-utility-1.0.xsd">{created}</Created>'
            "</UsernameToken></Security></s:Header>"
        )


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _whole(text: str) -> int:
    """0 for what is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
