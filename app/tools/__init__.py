"""What commands do besides runs: checks, measurements, imports. Commands only read options and print."""
