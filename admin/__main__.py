"""Runs the command line, with its audit lines on standard error."""

import logging

from admin.cli import cli


def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("gateway.audit").setLevel(logging.INFO)
    # What the SDKs log is in the one line of the error already.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    cli(prog_name="python -m admin")


if __name__ == "__main__":
    main()
