"""Every command with nobody to read its output, no room for it, nothing to read from, or Ctrl-C: never a traceback."""

import asyncio
import os
import shlex
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pytest

from admin.cli import cli
from shared.settings import Settings
from shared.stores.tables import CLIENTS, Table, table_service
from tests.admin.command_line import CommandLine, commands

PROGRAM = Path(__file__).parents[2] / "gateway"
CLIENT = "4f1c2a0e-93ad-4a53-9b6c-6f0e8a6d2b11"
FILE = "TenantId,FhirVersion,BaseUrl\n72f988bf-86f1-41af-91ab-2d7cd011db47,stu3,https://fhir.example.com/stu3\n"
End = tuple[int, str, str]


def example(path: tuple[str, ...], epilog: str) -> list[str]:
    """The first example of a command's help; only the help of azure's, which write files of the project."""
    if path[0] == "azure":
        return [*path, "--help"]
    return [*shlex.split(epilog.splitlines()[2].partition(">")[0])[1:], "--local"]


LINES = [example(path, str(command.epilog)) for path, command in commands(cli)]


async def over_all(check: Callable[[list[str]], Awaitable[None]]) -> None:
    """Checks every command: a group's one after another, as some make what the next ones need."""

    async def group(lines: list[list[str]]) -> None:
        for line in lines:
            await check(line)

    await asyncio.gather(*(group(list(lines)) for _, lines in groupby(LINES, key=lambda line: line[0] == "client")))


async def run(admin: CommandLine, line: list[str], redirections: str = "", **streams: int) -> End:
    """The exit code and the output of a command, whose streams a shell redirects."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {redirections}', "sh", str(PROGRAM), *line),
        cwd=admin.folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        **{"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE, **streams},
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    for sign in (b"Traceback", b"Exception ignored", b"Logging error"):
        assert sign not in (stderr or b""), (line, stderr.decode())
    return process.returncode, (stdout or b"").decode("ascii"), (stderr or b"").decode("ascii")


@pytest.fixture
async def admin(new_stack: CommandLine, environment: dict[str, str]) -> CommandLine:
    """The command line on a stack with what the examples name."""
    await new_stack.json("init")
    (new_stack.folder / "hospitals.csv").write_text(FILE)
    row = {"PartitionKey": CLIENT, "RowKey": "client", "Name": "Zoë 病院 ☃", "Owner": "ada", "Tenants": "*"}
    async with table_service(Settings.from_environment(environment)) as tables:
        await Table(tables, CLIENTS).put(row)
    return new_stack


async def test_with_nobody_to_read_a_command_ends_by_the_signal(admin: CommandLine) -> None:
    async def check(line: list[str]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        code, _, _ = await run(admin, line, stdout=writing, stderr=writing)
        os.close(writing)
        assert code == -signal.SIGPIPE, line

    await over_all(check)


async def test_with_no_room_for_its_output_a_command_fails(admin: CommandLine) -> None:
    async def check(line: list[str]) -> None:
        code, _, stderr = await run(admin, line, ">/dev/full")
        assert code in (1, 2), line
        assert "Error: " in stderr

    await over_all(check)
    assert (await run(admin, ["tenant", "list", "--local"], ">/dev/full"))[2] == "Error: No space left on device\n"


async def test_with_nothing_to_read_and_ascii_alone_a_command_ends_as_ever(admin: CommandLine) -> None:
    """And one that ends well writes nothing to standard error."""

    async def check(line: list[str]) -> None:
        code, stdout, stderr = await run(admin, line, "<&-")
        assert code in (0, 1, 2), line
        assert bool(stderr) == (code != 0) or line[0] in ("doctor", "smoke"), (line, stderr)
        assert stdout or stderr

    await over_all(check)


async def test_a_closed_stream_is_told_of_before_anything_is_done(admin: CommandLine) -> None:
    closed = await run(admin, ["client", "create", "--name=a", "--owner=b", "--tenants=*", "--local"], ">&-")
    assert closed == (1, "", "Error: standard output is closed\n")
    assert (await run(admin, ["client", "show", "nobody", "--local"], "2>&-"))[0] == 1


async def test_ctrl_c_ends_every_command_by_the_signal(environment: dict[str, str], tmp_path: Path) -> None:
    """While it waits for stores that do not respond."""

    async def check(line: list[str]) -> None:
        if line[0] in ("azure", "smoke", "completion"):
            return  # these ask no store
        reached = asyncio.Event()
        async with await asyncio.start_server(lambda reader, writer: reached.set(), "127.0.0.1", 0) as server:
            host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            tables = f"AccountName=a;AccountKey=YQ==;TableEndpoint=http://{host}/a"
            silent = CommandLine(tmp_path / "-".join(line[:2]))
            silent.folder.mkdir()
            (silent.folder / "hospitals.csv").write_text(FILE)
            stores = {"KEY_VAULT_URL": f"https://{host}", "TABLES_CONNECTION_STRING": tables}
            silent.configure({**environment, **stores})
            process = await asyncio.create_subprocess_exec(
                PROGRAM, *line, *(["--yes"] if "retire" in line else []), cwd=silent.folder, stdout=DEVNULL, stderr=PIPE
            )
            await asyncio.wait_for(reached.wait(), 30)
            process.send_signal(signal.SIGINT)
            _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (-signal.SIGINT, b""), line

    await over_all(check)


async def on_terminal(admin: CommandLine, line: str, **variables: str) -> str:
    """What a command prints on a terminal."""
    screen, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, *line.split(), "--local"),
        cwd=admin.folder,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **variables},
        stdin=DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    printed = b""
    with suppress(OSError):  # EIO, once the command has ended
        while part := await asyncio.to_thread(os.read, screen, 4096):
            printed += part
    os.close(screen)
    assert await process.wait() == 0, printed
    return printed.decode()


async def test_a_terminal_of_any_width_has_every_id_whole(admin: CommandLine) -> None:
    for columns in ("1", "40", "80"):
        assert CLIENT in (await on_terminal(admin, "client list", COLUMNS=columns)).split()


async def test_colours_are_for_terminals_that_have_them_and_people_who_want_them(admin: CommandLine) -> None:
    for variables, colours in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        assert ("\x1b" in await on_terminal(admin, "client list", **variables)) is colours
