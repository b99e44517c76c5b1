"""Servers that others wrote embed faces with an exported network: KServe's and MLServer. `make test-remote`."""

import contextlib
import dataclasses
import importlib.util
import json
import subprocess

import numpy as np
import pytest
from protocol_servers import SERVERS, python_of
from serve_process import ServeProcess
from shipped import CATALOG
from waiting import until

from app.errors import ModelError
from app.inference.remote.protocol import RefusedError, RemoteError, open_client, parse_address
from app.models.catalog import read_catalog
from app.models.loading import ModelLoader
from app.models.remote import known_pictures
from app.service.tokens import add_token
from app.settings import RemoteSettings
from app.tools.triton_export import export_model

pytestmark = pytest.mark.timeout(300)
FACES = np.concatenate([known_pictures((112, 112))] * 5)
PATIENT_MS = 60_000.0
WAYS = [(server, scheme) for server in SERVERS.values() for scheme in server.schemes]
every_way = pytest.mark.parametrize(
    ("started", "scheme"), WAYS, indirect=["started"], ids=lambda one: getattr(one, "name", one)
)
needs_kserve = pytest.mark.skipif(not python_of("kserve").exists(), reason="KServe is not installed: make test-remote")


@pytest.fixture(scope="module")
def all_servers(tmp_path_factory):
    """By name, those that were started so far."""
    servers = {}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture
def started(request, all_servers, tmp_path_factory):
    kind = request.param
    if not python_of(kind.name).exists():
        pytest.skip(f"{kind.name} is not installed: make test-remote")
    if "grpc" in request.node.callspec.params["scheme"] and importlib.util.find_spec("grpc") is None:
        pytest.skip("grpcio is not installed")
    if kind.name not in all_servers:
        all_servers[kind.name] = kind(tmp_path_factory.mktemp(kind.name))
    server = all_servers[kind.name]
    if server.process is None:
        server.start()
    return server


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


@every_way
def test_it_embeds_goes_and_comes_back(started, embedder, recognizer, scheme):
    remote = embedder(started.url(scheme))
    expected = recognizer.embed_crops(FACES)
    assert same(remote.embed(FACES), expected)
    assert remote.remote.is_up and remote.remote.answered == 2 and remote.remote.local == 0
    started.kill()
    assert same(remote.embed(FACES), expected) and same(remote.embed(FACES), expected)
    assert remote.remote.failed == 1 and remote.remote.local == 4 and not remote.remote.is_up
    started.start()
    until(lambda: remote.remote.is_up)
    assert same(remote.embed(FACES), expected) and remote.remote.answered == 4


@every_way
def test_an_unknown_model_is_refused(started, embedder, scheme):
    with pytest.raises(ModelError, match="other"):
        embedder(started.url(scheme), model="other")


@every_way
def test_a_limit_that_is_too_short_is_not_used(started, embedder, recognizer, scheme):
    remote = embedder(started.url(scheme), timeout_ms=1.0)
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES)) and not remote.remote.is_up


@every_way
def test_a_tensor_of_the_wrong_shape_is_an_error_of_the_server(started, scheme):
    with contextlib.closing(open_client(parse_address(started.url(scheme), "mobilefacenet", None, None))) as client:
        with pytest.raises((RefusedError, RemoteError), match=r"HTTP|gRPC"):
            client.infer({"crops": np.zeros((1, 8, 8, 3), np.uint8)}, "embedding", 20.0)
        assert client.infer({"crops": FACES}, "embedding", 20.0).shape == (20, 128), "the connection is usable"


@pytest.mark.parametrize(("started", "scheme"), [(SERVERS["mlserver"], "grpc")], indirect=["started"])
def test_a_server_that_takes_only_json_over_http_is_not_used_and_the_log_says_what_to_do(
    started, scheme, embedder, recognizer, caplog
):
    remote = embedder(started.url("http"))
    assert same(remote.embed(FACES), recognizer.embed_crops(FACES)) and not remote.remote.is_up
    assert "grpc://" in caplog.text


@every_way
def test_the_wrong_scheme_is_named(started, scheme, embedder, caplog):
    other = {"grpc": "http", "http": "grpc"}[scheme]
    assert not embedder(started.url(scheme).replace(scheme, other, 1)).remote.is_up
    assert f"begins with {scheme}://" in caplog.text


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


@needs_kserve
def test_kserves_own_client_works_with_our_server(tmp_path, recognizer):
    server = ServeProcess(tmp_path)
    token = add_token(server.tokens, "device", "read")
    np.save(tmp_path / "pictures.npy", FACES)
    try:
        server.start()
        words = [server.url, token, str(tmp_path / "pictures.npy")]
        done = subprocess.run([str(python_of("kserve")), "-c", KSERVES_CLIENT, *words], capture_output=True, text=True)
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


@needs_kserve
@pytest.mark.parametrize("use_tensorrt", [False, True])
def test_tritons_own_schema_reads_the_config(tmp_path, use_tensorrt):
    written = export_model(read_catalog(CATALOG).require("mobilefacenet"), tmp_path, use_tensorrt) / "config.pbtxt"
    done = subprocess.run([str(python_of("kserve")), "-c", READ_CONFIG, str(written)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    assert config["max_batch_size"] == 16 and config["dynamic_batching"]["preferred_batch_size"] == [4, 8, 16]
    assert config["input"] == [{"name": "crops", "data_type": "TYPE_UINT8", "dims": ["112", "112", "3"]}]
    assert ("optimization" in config) is use_tensorrt
