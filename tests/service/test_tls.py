"""HTTPS with a certificate and key from files."""

import contextlib
import dataclasses
import http.client
import logging
import shutil
import ssl
import subprocess
import sys

import pytest
from certificates import certificate
from http_client import free_port
from waiting import PATIENT_S, until

from app.client import FaceClient, ServiceError
from app.errors import SettingsError
from app.service.server import HttpServer
from app.service.tls import TlsFiles

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


@contextlib.contextmanager
def served_with(settings, cert, key, **more):
    limits = dataclasses.replace(settings.serve, port=free_port(), tls_cert=cert, tls_key=key, **more)
    with HttpServer(limits) as server:
        server.start(hello)
        yield limits.port, server.addresses[0]


def connected(port, trusted):
    context = ssl.create_default_context(cafile=str(trusted))
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENT_S, context=context)
    connection.request("GET", "/")
    reply = connection.getresponse()
    reply.read()
    return connection, reply


def test_clients_that_trust_the_certificate_are_answered_and_others_refuse_it(settings, tmp_path):
    cert, key = certificate(tmp_path, "one")
    with served_with(settings, cert, key) as (port, address):
        assert address == f"https://127.0.0.1:{port}"
        with FaceClient(address, ca_file=cert) as faces:
            assert faces.version() == {}
        with FaceClient(address) as faces, pytest.raises(ServiceError):
            faces.version()
        connection, reply = connected(port, cert)
        assert reply.getheader("strict-transport-security") is None
        connection.close()


def test_hsts_is_sent_only_where_it_is_configured(settings, tmp_path):
    cert, key = certificate(tmp_path, "one")
    with served_with(settings, cert, key, hsts_days=2) as (port, _):
        connection, reply = connected(port, cert)
        assert reply.getheader("strict-transport-security") == "max-age=172800"
        connection.close()


def test_a_replaced_certificate_is_used_for_new_connections_and_open_ones_go_on(settings, tmp_path, caplog):
    cert, key = certificate(tmp_path, "one")
    new_cert, new_key = certificate(tmp_path, "two")
    with served_with(settings, cert, key) as (port, _):
        old, _ = connected(port, cert)

        def use_old():
            # The server closes a connection that is idle for long.
            old.request("GET", "/")
            assert old.getresponse().read()

        new_cert_copy = shutil.copy(str(new_cert), str(tmp_path / "trusted.pem"))
        new_cert.replace(cert)
        until(lambda: "is not the key of" in caplog.text, use_old)  # half of the change: the old one stays in use
        kept = old.sock.getpeercert(binary_form=True)
        shutil.copy(str(new_key), str(key))

        def is_new():
            use_old()
            with contextlib.suppress(ssl.SSLCertVerificationError):
                connection, reply = connected(port, new_cert_copy)
                connection.close()
                return reply.status == 200

        until(is_new)
        old.request("GET", "/")
        assert old.getresponse().status == 200
        assert old.sock.getpeercert(binary_form=True) == kept
        old.close()


@pytest.mark.parametrize("broken", ["no key", "absent", "mismatch", "no PEM"])
def test_files_that_cannot_be_used_are_refused_at_the_start(settings, tmp_path, broken):
    cert, key = certificate(tmp_path, "one")
    expected = {"no key": "serve.tls_key is missing", "absent": "absent.pem", "mismatch": "is not the key of"}
    if broken == "no key":
        key = None
    elif broken == "absent":
        cert = tmp_path / "absent.pem"
    elif broken == "mismatch":
        key = certificate(tmp_path, "two")[1]
    else:
        cert.write_text("hello")
    with pytest.raises(SettingsError, match=expected.get(broken, "PEM")):
        TlsFiles.of(dataclasses.replace(settings.serve, tls_cert=cert, tls_key=key))


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_an_expired_certificate_and_an_open_key_are_warned_of(tmp_path, caplog):
    cert, key = certificate(tmp_path, "one")
    with caplog.at_level(logging.WARNING):
        TlsFiles(cert, key).close()
        assert not caplog.records
        key.chmod(0o644)
        TlsFiles(cert, key).close()
        assert [str(key) in record.getMessage() for record in caplog.records] == [True]
        ends_now = tmp_path / "ends_now.pem"
        renew = ["openssl", "x509", "-in", str(cert), "-signkey", str(key), "-days", "0", "-out", str(ends_now)]
        subprocess.run(renew, check=True, stderr=subprocess.DEVNULL)
        until(lambda: f"{ends_now} has expired" in caplog.text, lambda: TlsFiles(ends_now, key).close())
