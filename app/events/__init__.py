"""What happened: events derived from results, and the sinks that take them."""
