"""Work and memory are bounded by bytes, whatever the shape: from either side, and nobody else waits.

Nothing here is judged by the clock: `make faults` writes the times into `docs/reliability.md`.
"""

from collections.abc import AsyncIterator

import pytest

from local.azurite.table_service import TableService
from tests.faults import page
from tests.faults.conftest import FULL
from tests.shapes.measuring import Bench, Figures, bench
from tests.shapes.shapes import MEGABYTE, SHAPES, Shape, Way

_MAX_BODIES = 8  # of memory, for one
_BESIDES = 24 * MEGABYTE  # what a process takes now and then, whatever is sent
# Both ways in full, and of real bodies; of the others one, by turns.
_WAYS = [
    (shape, way)
    for number, shape in enumerate(SHAPES)
    for way in (tuple(Way) if FULL or shape.real else tuple(Way)[number % 2 :][:1])
]

pytestmark = pytest.mark.xdist_group("alone")


@pytest.fixture(scope="module")
async def measured(tmp_path_factory: pytest.TempPathFactory, table_service: TableService) -> AsyncIterator[Bench]:
    async with bench(tmp_path_factory.mktemp("shapes"), table_service) as measured:
        yield measured
        assert measured.app.host.unexpected() == []


def judged(found: Figures, shape: Shape, way: Way, size: int) -> None:
    refused = {400, 413} if way is Way.UP else {502}
    assert set(found.statuses) <= ({200} if way in shape.real else {200, *refused}), found
    assert found.wrong == []
    assert found.others
    assert found.memory * size < _MAX_BODIES * size + _BESIDES, found


@pytest.mark.parametrize(
    ("shape", "way"), _WAYS, ids=lambda value: getattr(value, "name", "").lower().replace(" ", "-")
)
async def test_no_shape_takes_more_than_its_bytes_allow(shape: Shape, way: Way, measured: Bench) -> None:
    small = await measured.measure(shape, way, MEGABYTE, times=3 if FULL else 1)
    judged(small, shape, way, MEGABYTE)
    if FULL:
        large = await measured.measure(shape, way, way.limit)
        judged(large, shape, way, way.limit)
        note(shape.name, way, small, large)


async def test_three_large_batches_at_once_at_a_slow_provider(measured: Bench) -> None:
    """More than a tenant may hold is refused while there is room, and others are served."""
    (shape,) = (shape for shape in SHAPES if shape.name == "a batch of writes")
    (lists,) = (shape for shape in SHAPES if shape.name == "lists")
    size = 19 * MEGABYTE
    measured.pause = 2.0
    try:
        for each in (shape, lists):
            found = await measured.measure(each, Way.UP, size, at_once=3)
            assert set(found.statuses) <= {200, 400, 503}, found
            assert found.wrong == []
            assert found.memory < _MAX_BODIES
            note(f"{each.name}: three of 19 MB at once, at a slow provider", Way.UP, found)
    finally:
        measured.pause = 0.0


def note(name: str, way: Way, *measured: Figures) -> None:
    """A row. What is at 1 MB stands before what is at the limit; figures beyond the aim are bold."""
    answers = [", ".join(map(str, sorted(set(found.statuses)))) for found in measured]
    cells = (
        answers,
        [_figure(found.work, 100) for found in measured],
        [_figure(found.cpu, 60) for found in measured],
        [_figure(measured[-1].memory, _MAX_BODIES, 1)],  # less is in what the process has already
        [f"{max(milliseconds for found in measured for milliseconds in found.others):.0f}"],
    )
    page.note("shapes", name, way.value[0], *map(" / ".join, cells))


def _figure(value: float, aim: float, digits: int = 0) -> str:
    return f"**{value:.{digits}f}**" if value > aim else f"{value:.{digits}f}"
