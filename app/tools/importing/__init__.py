"""Models that people bring: their weights become ONNX files and entries of the catalogue."""
