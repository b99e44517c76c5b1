"""The answer goes out: films, events, a window, snapshots, a line of progress."""
