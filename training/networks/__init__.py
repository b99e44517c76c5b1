"""The two networks of the built-in models, as PyTorch modules that export to plain ONNX operators."""
