"""A model of MLServer (Seldon) that runs an exported network. Loaded by MLServer, in an environment of its own."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class OnnxModel(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload):
        feeds = {one.name: NumpyCodec.decode_input(one) for one in payload.inputs}
        wanted = [one.name for one in payload.outputs or ()] or [node.name for node in self._session.get_outputs()]
        outputs = [
            NumpyCodec.encode_output(name, value) for name, value in zip(wanted, self._session.run(wanted, feeds))
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
