"""Runs a command that lasts no longer than this process's standard input: `python -m local.leash COMMAND...`.

The input is a pipe from whoever started us, which ends when they close it and when they die, however that happens.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

_STOP_SECONDS = 10.0


def main(command: Sequence[str]) -> int:
    """The command's exit code, or 128 and the number of the signal that ended it, as shells have it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end_with_input(process: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # All of the session that we were started in, with what the command may have started in turn.
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
