"""Live video in, named people out. The data's way: capture -> vision -> identity -> output."""

__version__ = "0.1.0"
