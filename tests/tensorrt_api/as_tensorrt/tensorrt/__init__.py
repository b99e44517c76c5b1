"""TensorRT-RTX under TensorRT's name, building for a GPU that is not here: the only one of the family that can."""

import tensorrt_rtx_bindings
from tensorrt_rtx_bindings import *  # noqa: F403
from tensorrt_rtx_bindings import __version__  # noqa: F401


class Builder(tensorrt_rtx_bindings.Builder):
    def create_builder_config(self):
        config = super().create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(tensorrt_rtx_bindings.ComputeCapability.SM86, 0)
        return config
