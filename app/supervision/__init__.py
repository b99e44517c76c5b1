"""Notices when a part of a run dies or hangs, and when that is the end of the run."""
