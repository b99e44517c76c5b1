"""A server of the Open Inference Protocol in this process, whose model can be replaced while it runs."""

import contextlib
import json
from concurrent import futures

import numpy as np
from quiet_http import Handler, QuietServer

from app.inference.remote import messages
from app.inference.remote.http_client import HEADER_LENGTH


class ModelServer:
    """Answers with the pictures times a matrix. Over HTTP, `closes` says whether each connection has one request."""

    def __init__(self, scheme, matrix, closes=False):
        self.matrix, self.closes = matrix, closes
        self.batches = []
        """How many pictures each request had."""
        self.before_ready = lambda: None
        self._stack = contextlib.ExitStack()
        port = {"http": self._start_http, "grpc": self._start_grpc}[scheme]()
        self.url = f"{scheme}://127.0.0.1:{port}"

    def close(self):
        self._stack.close()

    def answers(self, raw, shape):
        self.batches.append(shape[0])
        pictures = np.frombuffer(raw, np.uint8).reshape(shape[0], -1)
        return (pictures @ self.matrix).astype("<f4")

    def _start_http(self):
        model = self

        class Api(Handler):
            def do_GET(self):
                if self.path.endswith("/ready"):
                    model.before_ready()
                self.send({})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                length = int(self.headers[HEADER_LENGTH])
                (described,) = json.loads(body[:length])["inputs"]
                values = model.answers(body[length:], described["shape"])
                one = {"name": "values", "datatype": "FP32", "shape": values.shape, "data": values.ravel().tolist()}
                self.send({"outputs": [one]})

            def send(self, content):
                self.reply(200, json.dumps(content).encode(), **({"Connection": "close"} if model.closes else {}))

        server = QuietServer(Api)
        self.hang_up = server.hang_up
        self._stack.callback(server.close)
        return server.port

    def _start_grpc(self):
        import grpc

        model = self

        def infer(request, context):
            fields = messages.parse(request)
            values = model.answers(fields[7][0], messages._numbers(messages.parse(fields[5][0]), 3))
            shape = b"".join(map(messages._varint, values.shape))
            described = [(1, b"values"), (2, b"FP32"), (3, shape)]
            tensor = b"".join(messages._field(number, content) for number, content in described)
            return messages._field(5, tensor) + messages._field(6, values.tobytes())

        def ready(request, context):
            model.before_ready()
            return b"\x08\x01"

        methods = {"ModelInfer": infer, "ServerReady": ready, "ModelMetadata": lambda request, context: b""}

        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                return grpc.unary_unary_rpc_method_handler(methods[details.method.rpartition("/")[2]])

        server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Handler()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self._stack.callback(lambda: server.stop(None).wait())
        return port
