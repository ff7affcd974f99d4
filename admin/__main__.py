"""Runs the command line, with its audit lines on standard error."""

import io
import logging
import sys

from admin.cli import cli
from admin.command import PROGRAM
from admin.completion import VARIABLE


class _StandardError(logging.Handler):
    """Writes to sys.stderr as it is at the time: a progress bar replaces it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[_StandardError()])
    logging.getLogger("gateway.audit").setLevel(logging.INFO)
    # The one line of the error holds already what the SDKs log.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks (cp1252) must not end a command that has changed something.
            stream.reconfigure(errors="backslashreplace")
    # On Windows click takes `--tenants *` for names of files, which its shells leave to the program.
    cli(prog_name=PROGRAM, complete_var=VARIABLE, windows_expand_args=False)


if __name__ == "__main__":
    main()
