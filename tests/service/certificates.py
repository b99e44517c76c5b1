"""Self-signed certificates, made with openssl."""

import shutil
import subprocess

import pytest


def certificate(folder, name):
    """A self-signed certificate of this machine and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder.mkdir(exist_ok=True)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    key.chmod(0o600)
    return cert, key
