"""GStreamer in a process of its own, for Pythons whose OpenCV has none. `child.py` is that process."""
