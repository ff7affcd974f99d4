"""The command line: `python -m admin --help`."""
