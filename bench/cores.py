"""Which core does what: whoever is measured has one alone, load and provider share the other."""

import os
from collections.abc import Sequence

_CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, SERVER_CORE = _CORES[0], _CORES[-1]


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """The command as one that runs on a single core and is killed when we die; both keep its process id."""
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core), *command]
