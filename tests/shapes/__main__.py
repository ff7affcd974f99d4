"""`python -m tests.shapes [part of a name] [MB]`: measures shapes, and prints what was found."""

import asyncio
import sys
import tempfile
from pathlib import Path

from local.azurite.table_service import TableService
from tests.shapes.measuring import bench
from tests.shapes.shapes import MEGABYTE, SHAPES, Way


async def main(name: str, sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tables = await TableService.start(Path(folder) / "tables")
        try:
            async with bench(Path(folder), tables) as measured:
                for shape in (shape for shape in SHAPES if name in shape.name):
                    for way in Way:
                        for size in sizes or [MEGABYTE, way.limit]:
                            found = await measured.measure(shape, way, size)
                            print(
                                f"{shape.name:32} {way.value[0]:4} {size / MEGABYTE:4.0f} MB: {found.statuses}"
                                f" held {found.hold:6.0f} ms (worked {found.work:5.0f}), {found.cpu:6.1f} ms/MB, memory"
                                f" {found.memory:5.1f} x, others {max(found.others, default=0):5.0f} ms",
                                *found.wrong,
                                flush=True,
                            )
        finally:
            await tables.stop()


if __name__ == "__main__":
    asyncio.run(main("".join(sys.argv[1:2]), [int(size) * MEGABYTE for size in sys.argv[2:]]))
