"""Running networks: one `Engine` per backend (TensorRT, OpenVINO, ONNX Runtime), and the choice between them."""
