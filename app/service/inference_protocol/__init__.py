"""The Open Inference Protocol v2: networks of this program for other devices."""
