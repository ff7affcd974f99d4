"""The command line: `./gateway --help`."""
