"""Runs the command line, with its audit lines on standard error."""

import logging
import sys

from admin.cli import cli
from admin.completion import VARIABLE


class _StandardError(logging.Handler):
    """Writes to what is standard error at the time: a progress bar puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[_StandardError()])
    logging.getLogger("gateway.audit").setLevel(logging.INFO)
    # What the SDKs log is in the one line of the error already.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    cli(prog_name="python -m admin", complete_var=VARIABLE)


if __name__ == "__main__":
    main()
