"""A server of the Open Inference Protocol in this process, whose model can be replaced while it runs."""

import contextlib
import http.server
import json
import threading
from concurrent import futures

import numpy as np

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

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.endswith("/ready"):
                    model.before_ready()
                self.reply({})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                length = int(self.headers[HEADER_LENGTH])
                (described,) = json.loads(body[:length])["inputs"]
                values = model.answers(body[length:], described["shape"])
                one = {"name": "values", "datatype": "FP32", "shape": values.shape, "data": values.ravel().tolist()}
                self.reply({"outputs": [one]})

            def reply(self, content):
                body = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                if model.closes:
                    self.send_header("Connection", "close")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return server.server_port

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
