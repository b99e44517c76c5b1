"""How the program is doing, for other programs: metrics for Prometheus, and whether it is healthy."""
