"""The command line: a module per command, which reads options, calls what does the work, and prints."""
