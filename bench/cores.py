"""The cores: the process that is measured has one alone, load and provider share the other.

A module of its own because the worker's environment lacks what `bench.process` imports.
"""

import os
from collections.abc import Sequence

_CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, SERVER_CORE = _CORES[0], _CORES[-1]


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """The command as one that runs on a single core and is killed when this process dies; both keep its process id."""
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core), *command]
