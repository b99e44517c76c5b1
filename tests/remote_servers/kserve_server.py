"""usage: python kserve_server.py MODEL.onnx NAME HTTP_PORT GRPC_PORT: a real KServe server with an exported network.

Runs in an environment of its own, which has kserve and onnxruntime (make test-remote).
"""

import sys

import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer

TYPES = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}


class OnnxModel(Model):
    def __init__(self, name, path):
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        feeds = {one.name: one.as_numpy() for one in payload.inputs}
        wanted = [one.name for one in payload.request_outputs or ()] or None
        outputs = []
        for node, value in zip(self._session.get_outputs(), self._session.run(wanted, feeds)):
            output = InferOutput(node.name, list(value.shape), TYPES[node.type])
            output.set_data_from_numpy(value, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)

    async def get_input_types(self):
        return [described(node) for node in self._session.get_inputs()]

    async def get_output_types(self):
        return [described(node) for node in self._session.get_outputs()]


def described(node):
    shape = [side if isinstance(side, int) else -1 for side in node.shape]
    return {"name": node.name, "datatype": TYPES[node.type], "shape": shape}


if __name__ == "__main__":
    model, name, http_port, grpc_port = sys.argv[1:]
    ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1).start([OnnxModel(name, model)])
