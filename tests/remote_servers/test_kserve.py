"""KServe's own server embeds faces with an exported network, over gRPC and over HTTP: `make test-remote`."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ports import free_port
from serve_process import ServeProcess
from shipped import CATALOG
from waiting import until

from app.errors import ModelError
from app.inference.remote.http_client import HttpClient
from app.inference.remote.protocol import RefusedError, RemoteError, parse_address
from app.models.catalog import read_catalog
from app.models.loading import ModelLoader
from app.models.remote import known_pictures
from app.service.tokens import add_token
from app.settings import RemoteSettings
from app.tools.triton_export import export_model

KSERVE = Path(os.environ.get("REMOTE_SERVERS", "build/remote")) / "bin" / "python"
"""An environment with what requirements.txt lists."""

pytestmark = [
    pytest.mark.skipif(not KSERVE.exists(), reason="there is no environment with KServe: make test-remote"),
    pytest.mark.timeout(300),
]
FACES = np.concatenate([known_pictures((112, 112))] * 5)
PATIENT_MS = 60_000.0
NO_GRPC = importlib.util.find_spec("grpc") is None
SCHEMES = ["http", pytest.param("grpc", marks=pytest.mark.skipif(NO_GRPC, reason="grpcio is not installed"))]


class KServe:
    def __init__(self, folder):
        self.ports = {"http": free_port(), "grpc": free_port()}
        self.repository = folder / "models"
        entry = read_catalog(CATALOG).require("mobilefacenet")
        self.model = export_model(entry, self.repository) / "1" / "model.onnx"
        self._process = None
        self._log = (folder / "log").open("wb")

    def start(self):
        script = Path(__file__).with_name("kserve_server.py")
        words = [self.model, "mobilefacenet", self.ports["http"], self.ports["grpc"]]
        self._process = subprocess.Popen(
            [str(KSERVE), str(script), *map(str, words)], stdout=self._log, stderr=subprocess.STDOUT
        )

        def answers():
            assert self._process.poll() is None, Path(self._log.name).read_text()
            with contextlib.suppress(Exception):
                return HttpClient(parse_address(self.url("http"), "mobilefacenet", None, None)).is_ready(1.0)
            return False

        until(answers)

    def url(self, scheme):
        return f"{scheme}://127.0.0.1:{self.ports[scheme]}"

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    server = KServe(tmp_path_factory.mktemp("kserve"))
    yield server
    server.kill()


@pytest.fixture
def server(module_server):
    if module_server._process is None:
        module_server.start()
    return module_server


@pytest.fixture
def embedder(settings):
    with contextlib.ExitStack() as stack:

        def open_embedder(url, **remote):
            remote = RemoteSettings(url=url, **{"timeout_ms": PATIENT_MS, **remote})
            loader = ModelLoader(dataclasses.replace(settings, remote=remote))
            return stack.enter_context(contextlib.closing(loader.open_embedder()))

        yield open_embedder


def same(vectors, others):
    return bool(((vectors * others).sum(axis=1) > 0.9999).all())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_embeds_goes_and_comes_back(server, embedder, recognizer, scheme):
    remote = embedder(server.url(scheme))
    expected = recognizer.embed_crops(FACES)
    assert same(remote.embed(FACES), expected)
    assert remote.remote.is_up and remote.remote.answered == 2 and remote.remote.local == 0
    server.kill()
    assert same(remote.embed(FACES), expected) and same(remote.embed(FACES), expected)
    assert remote.remote.failed == 1 and remote.remote.local == 4 and not remote.remote.is_up
    server.start()
    until(lambda: remote.remote.is_up)
    assert same(remote.embed(FACES), expected) and remote.remote.answered == 4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_unknown_model_is_refused(server, embedder, scheme):
    with pytest.raises(ModelError, match="other"):
        embedder(server.url(scheme), model="other")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_limit_that_is_too_short_is_not_used(server, embedder, recognizer, scheme):
    remote = embedder(server.url(scheme), timeout_ms=1.0)
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES)) and not remote.remote.is_up


def test_a_tensor_of_the_wrong_shape_is_an_error_of_the_server(server):
    client = HttpClient(parse_address(server.url("http"), "mobilefacenet", None, None))
    with pytest.raises((RefusedError, RemoteError), match="HTTP"):
        client.infer({"crops": np.zeros((1, 8, 8, 3), np.uint8)}, "embedding", 20.0)
    assert client.infer({"crops": FACES}, "embedding", 20.0).shape == (20, 128), "the connection is usable afterwards"


KSERVES_CLIENT = """
import asyncio, sys
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
url, token, pictures = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
crops = np.load(pictures)

async def ask():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, "mobilefacenet", headers=headers)
    for binary in (True, False):
        tensor = InferInput("crops", list(crops.shape), "UINT8")
        tensor.set_data_from_numpy(crops, binary_data=binary)
        outputs = [RequestedOutput("embedding", {"binary_data": binary})]
        request = InferRequest("mobilefacenet", [tensor], request_id="7", request_outputs=outputs)
        reply = await client.infer(url, request, "mobilefacenet", headers=dict(headers))
        assert reply.id == "7"
        np.save(f"{pictures}.{binary}.npy", reply.outputs[0].as_numpy())

asyncio.run(ask())
"""


def test_kserves_own_client_works_with_our_server(tmp_path, recognizer):
    server = ServeProcess(tmp_path)
    token = add_token(server.tokens, "device", "read")
    np.save(tmp_path / "pictures.npy", FACES)
    try:
        server.start()
        words = [server.url, token, str(tmp_path / "pictures.npy")]
        done = subprocess.run([str(KSERVE), "-c", KSERVES_CLIENT, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        server.kill()
    for binary in (True, False):
        vectors = np.load(tmp_path / f"pictures.npy.{binary}.npy")
        assert same(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), recognizer.embed_crops(FACES))


READ_CONFIG = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
config = text_format.Parse(open(sys.argv[1]).read(), model_config_pb2.ModelConfig())
print(json_format.MessageToJson(config, preserving_proto_field_name=True))
"""


@pytest.mark.parametrize("use_tensorrt", [False, True])
def test_tritons_own_schema_reads_the_config(tmp_path, use_tensorrt):
    written = export_model(read_catalog(CATALOG).require("mobilefacenet"), tmp_path, use_tensorrt) / "config.pbtxt"
    done = subprocess.run([str(KSERVE), "-c", READ_CONFIG, str(written)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    assert config["max_batch_size"] == 16 and config["dynamic_batching"]["preferred_batch_size"] == [4, 8, 16]
    assert config["input"] == [{"name": "crops", "data_type": "TYPE_UINT8", "dims": ["112", "112", "3"]}]
    assert ("optimization" in config) is use_tensorrt
