"""Runs the command line. However a command ends, it ends without a traceback, and as other programs do:

1 for a failure, 2 for a command that is not well formed, and by the signal itself after Ctrl-C or when whoever reads
its output has stopped to.
"""

# Everything else is imported where Ctrl-C is seen to.
import os
import signal
import sys


def main() -> None:
    try:
        _open_streams()
        code = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
    except BrokenPipeError:
        _end_by(getattr(signal, "SIGPIPE", signal.SIGTERM))  # Windows has none
    except OSError as error:
        code = 1
        _fail(error)
    sys.exit(code)


def _run() -> int:
    """Runs the command of this process; returns its exit code."""
    import click

    from admin.cli import cli
    from admin.command import PROGRAM, log_to_standard_error
    from admin.completion import complete

    log_to_standard_error()
    complete(cli)
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    try:
        with cli.make_context(PROGRAM, sys.argv[1:], color=False if plain else None) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # at a question
            raise KeyboardInterrupt from None
        click.echo("Aborted!", err=True)
        return 1
    return 0


def _open_streams() -> None:
    """Has every stream there, with the characters that its encoding lacks (cp1252) shown by their numbers."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 (until the end)
    closed = sys.stdout is None
    if closed:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if closed:  # before a command shows a secret to nobody
        raise OSError("standard output is closed")


def _fail(error: OSError) -> None:
    """Names what the system refused, such as to write to a disk that is full."""
    try:
        print("Error:", *filter(None, (error.filename, error.strerror or error)), file=sys.stderr)
    finally:  # standard error may take nothing either
        _discard_output()


def _end_by(number: int) -> None:
    """Ends the process by a signal, so that a shell stops with it."""
    _discard_output()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    sys.exit(128 + number)


def _discard_output() -> None:
    """Leaves nothing that Python would try to write once more at the end."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


if __name__ == "__main__":
    main()
