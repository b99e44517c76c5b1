"""Results go out: videos, a window, snapshots, the progress line and the summary."""
