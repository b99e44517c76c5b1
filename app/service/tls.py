"""TLS by files: a certificate and its key, which may be replaced while the server runs."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path
from typing import Optional, Tuple

from app.errors import SettingsError
from app.settings.serve import ServeSettings

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
_PARTIAL_CHAIN = 0x80000
"""ssl.VERIFY_X509_PARTIAL_CHAIN, which has a name since Python 3.10 only."""
_NOT_YET_VALID, _EXPIRED = 9, 10

_Stamp = Tuple[Tuple[int, int, int], ...]


class TlsFiles:
    """The context of a server. New connections get a new certificate; those that are open keep theirs."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises SettingsError if the files cannot be used."""
        self._certificate, self._key = certificate, key
        self._stamp = self._stamps()
        self.context = self._loaded()
        self._warn()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tls", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, settings: ServeSettings) -> Optional[TlsFiles]:
        """None: the server speaks plain HTTP."""
        if (settings.tls_cert is None) != (settings.tls_key is None):
            missing = "serve.tls_key" if settings.tls_key is None else "serve.tls_cert"
            raise SettingsError(f"{missing} is missing: TLS needs both files, serve.tls_cert and serve.tls_key")
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        return cls(settings.tls_cert, settings.tls_key)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_EVERY_S):
            try:
                stamp = self._stamps()
                if stamp == self._stamp:
                    continue
                self._stamp = stamp
                # First in a context of its own: half a change would break the one in use.
                self._loaded()
                self.context.load_cert_chain(self._certificate, self._key, password="")
                logger.info("%s: the new certificate is used from now on", self._certificate)
                self._warn()
            except (SettingsError, OSError) as error:
                logger.error("%s; the certificate of before is used further", error)

    def _stamps(self) -> _Stamp:
        """Raises SettingsError."""
        stamps = []
        for name, path in (("serve.tls_cert", self._certificate), ("serve.tls_key", self._key)):
            try:
                status = path.stat()
            except OSError as error:
                raise SettingsError(f"{path} cannot be read ({name}): {error.strerror}") from error
            stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(stamps)

    def _loaded(self) -> ssl.SSLContext:
        for name, path in (("serve.tls_cert", self._certificate), ("serve.tls_key", self._key)):
            try:
                path.read_bytes()
            except OSError as error:
                raise SettingsError(f"{path} cannot be read ({name}): {error.strerror}") from error
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise SettingsError(
                    f"{self._key} (serve.tls_key) is not the key of {self._certificate} (serve.tls_cert)"
                ) from error
            raise SettingsError(
                f"{self._certificate} (serve.tls_cert) and {self._key} (serve.tls_key) cannot be used: expected PEM "
                f"files of a certificate and of its key without a password ({error.reason or error})"
            ) from error
        return context

    def _warn(self) -> None:
        if self._key.stat().st_mode & 0o077:
            logger.warning("%s can be read by other users (serve.tls_key): chmod 600 it", self._key)
        code = _verify_code(self.context, self._certificate)
        if code == _EXPIRED:
            logger.warning("%s has expired (serve.tls_cert): clients will refuse it", self._certificate)
        if code == _NOT_YET_VALID:
            logger.warning("%s is not valid yet (serve.tls_cert): is the clock right?", self._certificate)


def _verify_code(context: ssl.SSLContext, certificate: Path) -> int:
    """What a client that trusts the certificate says of it, in OpenSSL's numbers; 0 = it is fine.

    The two shake hands in memory: the standard library has no other way to read a certificate's dates.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= _PARTIAL_CHAIN
    trusting.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return int(error.verify_code)
    return 0
