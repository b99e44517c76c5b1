"""Is everything there that the program needs on this machine? One check a line, with what to do about it."""
