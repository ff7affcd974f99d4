import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


async def start(folder: Path, port: int) -> Process:
    arguments = ("-m", "local.vault", "--port", str(port), "--folder", str(folder))
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=PROJECT, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_where_it_listens_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = await start(tmp_path, 0)
    assert process.stdout
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    process.send_signal(number)
    rest, errors = await asyncio.wait_for(process.communicate(), 20)
    assert line.startswith("Key Vault stand-in listening on https://127.0.0.1:")
    assert (process.returncode, rest, errors) == (0, b"", b"")


async def test_a_taken_port_is_one_line_and_a_failure(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    process = await start(tmp_path, taken.sockets[0].getsockname()[1])
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    taken.close()
    assert process.returncode == 1
    assert errors.decode().startswith("The Key Vault stand-in did not start: ")
    assert errors.count(b"\n") == 1
