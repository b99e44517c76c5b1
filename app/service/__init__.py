"""The program over HTTP: one core, and a thin package for each dialect that clients speak."""
