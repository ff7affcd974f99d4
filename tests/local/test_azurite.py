import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import psutil
import pytest
from azure.core.exceptions import HttpResponseError
from azure.data.tables.aio import TableServiceClient

from local import child_process
from local.azurite import installation
from local.azurite.table_service import TableService, TableServiceError

PROJECT = Path(__file__).parents[2]


async def value(connection_string: str, written: str | None = None) -> str:
    """The value that a row keeps, after `written` was put there."""
    async with TableServiceClient.from_connection_string(connection_string) as client:
        table = await client.create_table_if_not_exists("Kept")
        if written:
            await table.upsert_entity({"PartitionKey": "p", "RowKey": "r", "Value": written})
        return str((await table.get_entity("p", "r"))["Value"])


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_another_key_is_refused(table_service: TableService) -> None:
    before, _, rest = table_service.connection_string.partition("AccountKey=")
    other = f"{before}AccountKey=b3RoZXI=;{rest.partition(';')[2]}"
    with pytest.raises(HttpResponseError) as raised:
        await value(other, "x")
    assert raised.value.status_code == 403


async def test_it_saves_and_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from local.azurite.table_service import TableService\n"
        "async def main():\n"
        "    service = await TableService.start(Path(sys.argv[1]))\n"
        "    print(service.port, service.connection_string, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path), cwd=PROJECT, stdout=PIPE)
    assert parent.stdout
    port, connection_string = (await asyncio.wait_for(parent.stdout.readline(), 30)).decode().split()
    await value(connection_string, "outlived")
    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    async with asyncio.timeout(20):
        while await accepts(int(port)):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)
    again = await TableService.start(tmp_path, int(port))
    try:
        assert again.connection_string == connection_string
        assert await value(again.connection_string) == "outlived"
    finally:
        await again.stop()
        await again.stop()
    assert not await accepts(again.port)
    assert (tmp_path / "account-key").stat().st_mode & 0o077 == 0


async def test_a_child_that_does_not_stop_is_killed_with_its_own_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_STOP_SECONDS", 0.1)
    script = "trap '' TERM; sleep 600 & echo $!; wait; sleep 600"
    child = await child_process.ChildProcess.start("deaf", ("sh", "-c", script), os.environ)
    assert await child.printed(b"\n")
    await child.stop()
    (grandchild,) = (await child.ended()).split()
    _, alive = psutil.wait_procs([psutil.Process(int(grandchild))] if psutil.pid_exists(int(grandchild)) else [], 5)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


async def test_a_taken_port_is_an_error_that_says_so(tmp_path: Path, table_service: TableService) -> None:
    with pytest.raises(TableServiceError, match="EADDRINUSE"):
        await TableService.start(tmp_path, table_service.port)


def test_the_lock_pins_azurite_and_holds_no_registry() -> None:
    folder = Path(installation.__file__).parent
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]["azurite"]
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert packages["node_modules/azurite"]["version"] == wanted
    assert not [path for path, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for path, package in packages.items() if path)


@pytest.mark.parametrize("path", ["", str(Path(sys.executable).parent), "/usr/bin:/bin"])
def test_any_path_leads_to_a_node_that_is_new_enough_and_no_wrapper(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path)
    node = installation.install()
    script = "[process.execPath, process.versions.node].join(' ')"
    asked = subprocess.run([node.executable, "-p", script], capture_output=True, text=True, check=True)
    executable, version = asked.stdout.split()
    assert Path(executable).samefile(node.executable)
    assert int(version.partition(".")[0]) >= 22
