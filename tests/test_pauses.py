import asyncio
from collections.abc import Generator

from shared.pauses import paused


async def test_others_are_served_in_the_pauses_of_long_work() -> None:
    served: list[int] = []
    asyncio.get_running_loop().call_soon(served.append, 1)

    def steps() -> Generator[None, None, list[int]]:
        for _ in range(10_000_000):
            if served:
                break
            yield
        return served

    assert await paused(steps()) == [1]
