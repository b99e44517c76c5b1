"""Servers of the Open Inference Protocol that others wrote, each in an environment of its own (make test-remote)."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

from ports import free_port
from shipped import CATALOG
from waiting import until

from app.errors import AppError
from app.inference.remote.protocol import open_client, parse_address
from app.models.catalog import read_catalog
from app.tools.triton_export import export_model

HERE = Path(__file__).parent / "remote_servers"
ENVIRONMENTS = Path(os.environ.get("REMOTE_SERVERS", "build/remote")).absolute()


def python_of(name):
    return ENVIRONMENTS / name / "bin" / "python"


class RealServer:
    """A process with an exported network. It begins with `start`."""

    name: str
    schemes: tuple
    """How it takes binary tensors."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {"http": free_port(), "grpc": free_port()}
        entry = read_catalog(CATALOG).require("mobilefacenet")
        self.model = export_model(entry, folder / "models") / "1" / "model.onnx"
        self.process = None
        self._log = (folder / "log").open("wb")

    def start(self):
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        self.process = subprocess.Popen(
            list(map(str, self.command())),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=environment,
        )
        until(self._answers)

    def url(self, scheme):
        return f"{scheme}://127.0.0.1:{self.ports[scheme]}"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self):
        self.kill()
        self._log.close()

    def _answers(self):
        assert self.process.poll() is None, Path(self._log.name).read_text()
        return all(self._is_ready(scheme) for scheme in self.schemes)

    def _is_ready(self, scheme):
        with contextlib.suppress(AppError), contextlib.closing(
            open_client(parse_address(self.url(scheme), "mobilefacenet", None, None))
        ) as client:
            return client.is_ready(1.0)
        return False


class KServe(RealServer):
    name, schemes = "kserve", ("grpc", "http")

    def command(self):
        script = HERE / "kserve_server.py"
        return [python_of(self.name), script, self.model, "mobilefacenet", self.ports["http"], self.ports["grpc"]]


class MLServer(RealServer):
    """Over HTTP it takes JSON only."""

    name, schemes = "mlserver", ("grpc",)

    def command(self):
        ports = {"http_port": self.ports["http"], "grpc_port": self.ports["grpc"], "metrics_port": free_port()}
        settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
        (self.folder / "settings.json").write_text(json.dumps(settings))
        model = {
            "name": "mobilefacenet",
            "implementation": "mlserver_model.OnnxModel",
            "parameters": {"uri": str(self.model)},
            "inputs": [{"name": "crops", "datatype": "UINT8", "shape": [-1, 112, 112, 3]}],
            "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [-1, 128]}],
        }
        (self.folder / "model-settings.json").write_text(json.dumps(model))
        return [python_of(self.name), "-m", "mlserver.cli.main", "start", self.folder]


SERVERS = {server.name: server for server in (KServe, MLServer)}
