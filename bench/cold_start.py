"""A cold start: from the start of a worker's process to its first response."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import servers
from bench.wrk import Prepared, connected


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Milliseconds from the start of the process to the first response, and those of the first and a later request."""

    total: float
    first: float
    later: float


async def cold_starts(
    requests: Mapping[str, tuple[Path, Prepared]], environment: Mapping[str, str], rounds: int, *, compiled: bool
) -> dict[str, ColdStart]:
    """The median of `rounds` starts for each app and first request, in turn; with or without bytecode of any code.

    One start before them is not counted: it writes the bytecode that is missing, wherever else that is not done.
    """
    found: dict[str, list[ColdStart]] = {name: [] for name in requests}
    with tempfile.TemporaryDirectory() as nothing:
        uncompiled = {"PYTHONPYCACHEPREFIX": nothing, "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {**environment, **({"PYTHONDONTWRITEBYTECODE": ""} if compiled else uncompiled)}
        for _ in range(1 + rounds):
            for name, (root, request) in requests.items():
                found[name].append(await _cold_start(root, request, environment))
    return {
        name: ColdStart(*(median(getattr(start, part) for start in starts[1:]) for part in ("total", "first", "later")))
        for name, starts in found.items()
    }


async def _cold_start(root: Path, request: Prepared, environment: Mapping[str, str]) -> ColdStart:
    async with servers.in_worker(root, environment) as worker, connected(worker.port) as send:
        first, _ = await send(request)
        total = worker.age_seconds() * 1000
        later = [(await send(request))[0] for _ in range(5)]
    return ColdStart(total, first, median(later))
