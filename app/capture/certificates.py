"""Whether the certificate of a camera can be trusted: signed by an authority, or the one that the user keeps."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import ssl
from pathlib import Path
from typing import Callable, List, Optional

_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where Linux distributions keep the certificates of the authorities."""
_OTHER_HOST = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class UntrustedError(OSError):
    """The certificate cannot be verified, or there is none."""


def authorities() -> Optional[str]:
    """The file with the certificates of the authorities that this machine trusts."""
    found = [ssl.get_default_verify_paths().cafile, *_AUTHORITIES]
    return next((path for path in found if path is not None and Path(path).is_file()), None)


def connected(connect: Callable[[], socket.socket], host: str, verify: bool, ca_file: Optional[Path]) -> ssl.SSLSocket:
    """A connection with TLS. Raises UntrustedError.

    A certificate that is itself in `ca_file` counts for every IP address: cameras sign their own before they know
    theirs.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        reason = error.strerror if error.strerror and error.errno in errno.errorcode else "it holds no certificates"
        raise UntrustedError(f"capture.ca_file {ca_file} cannot be read: {reason}") from error
    # Cameras' own certificates rarely follow every rule that Python checks from 3.13 on. FFmpeg does not check them.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        return _wrapped(connect(), context, host)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code not in _OTHER_HOST or ca_file is None:
            raise UntrustedError(_problem(error, host)) from error
        if not _is_ip_address(host):
            raise UntrustedError(f"{_problem(error, host)}; use its IP address instead of its name") from error
    except ssl.SSLError as error:
        if not verify:
            raise
        raise UntrustedError(str(error.reason or error)) from error
    context.check_hostname = False
    secure = _wrapped(connect(), context, host)
    if secure.getpeercert(binary_form=True) in _certificates_in(ca_file):
        return secure
    secure.close()
    raise UntrustedError(f"it is not for {host}, and not in capture.ca_file itself")


def _wrapped(plain: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except OSError:
        plain.close()
        raise


def _problem(error: ssl.SSLCertVerificationError, host: str) -> str:
    return f"it is not for {host}" if error.verify_code in _OTHER_HOST else error.verify_message


def _certificates_in(path: Path) -> List[bytes]:
    return [ssl.PEM_cert_to_DER_cert(pem) for pem in _PEM.findall(path.read_text(encoding="latin-1"))]


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
