"""The whole stack as a person starts it, in a folder and on ports of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from local import demo_file
from local.demo_file import Demo, DemoTenant
from local.hospitals.hospital import HOSPITALS
from shared.settings import Settings
from shared.stores.tables import TENANTS, Table, table_service

PROJECT = Path(__file__).parents[2]
_START_SECONDS = 180
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Running:
    folder: Path
    output: Path
    process: subprocess.Popen[bytes]

    @property
    def demo(self) -> Demo:
        demo = demo_file.read(self.folder / "demo.json")
        assert demo is not None
        return demo

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads((self.folder / "local.settings.json").read_text())
        return settings

    def token(self, tenant_id: str) -> requests.Response:
        client = {"client_id": self.demo.client_id, "client_secret": self.demo.client_secret}
        form = {"grant_type": "client_credentials", "scope": tenant_id, **client}
        return requests.post(f"{self.demo.base_url}/oauth2/token", form, timeout=30)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(_STOP_SECONDS)


def command(name: str, folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "local", name, "--folder", str(folder), *options]


@contextmanager
def started(folder: Path, name: str = "run") -> Iterator[Running]:
    output, arguments = folder.with_suffix(".out"), command(name, folder, "--port", "0")
    with output.open("wb") as file:
        process = subprocess.Popen(arguments, cwd=PROJECT, stdout=file, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + _START_SECONDS
        while "Ready" not in output.read_text() and process.poll() is None:
            assert time.monotonic() < end, "it did not start in time"
            time.sleep(0.05)
        assert process.poll() is None, output.read_text()
        yield Running(folder, output, process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(_STOP_SECONDS)


def descendants(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children(recursive=True)


def are_gone(processes: list[psutil.Process], seconds: float = 0) -> bool:
    """Whether all have ended, at once or within some seconds; a zombie waits for its new parent, no more."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("stack")) as running:
        yield running


def run(name: str, folder: Path, *options: str) -> tuple[int, str, str]:
    """The exit code, output and errors of a command that ends by itself."""
    captured = {"capture_output": True, "text": True, "env": os.environ | {"COLUMNS": "160"}}
    done = subprocess.run(command(name, folder, *options), cwd=PROJECT, timeout=120, **captured)
    return done.returncode, done.stdout, done.stderr


def test_demo_json_has_all_that_an_app_needs_and_its_owner_alone_reads_it(stack: Running) -> None:
    demo = stack.demo
    assert demo.base_url == stack.settings["Values"]["PUBLIC_BASE_URL"]
    assert demo.portal_url is not None
    assert [(tenant.name, tenant.version, tenant.base) for tenant in demo.tenants] == [
        (hospital.name, hospital.version.value, f"{demo.base_url}/{hospital.version.value}") for hospital in HOSPITALS
    ]
    assert stack.folder.stat().st_mode & 0o777 == 0o700
    for name in ("demo.json", "hospitals.json", "local.settings.json"):
        assert (stack.folder / name).stat().st_mode & 0o777 == 0o600


def test_the_printed_curl_gets_a_token(stack: Running) -> None:
    lines = stack.output.read_text().splitlines()
    _, url, *options = next(line for line in lines if line.strip().startswith("curl ")).split()
    fields = [field for flag, field in zip(options[::2], options[1::2], strict=True) if flag == "-d"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert requests.post(url, "&".join(fields), headers=form, timeout=30).json()["access_token"]


def test_everything_is_healthy_and_on_loopback_alone(stack: Running) -> None:
    assert requests.get(f"{stack.demo.base_url}/health", timeout=30).json()["status"] == "ok"
    processes = [psutil.Process(stack.process.pid), *descendants(stack)]
    sockets = [found for process in processes for found in process.net_connections("inet")]
    listening = {found.laddr for found in sockets if found.status == psutil.CONN_LISTEN}
    chosen = set(json.loads((stack.folder / "ports.json").read_text()).values())
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert len(chosen) - 1 <= len({port for _, port in listening}) <= len(chosen)


def test_the_demo_shows_the_chart_of_each_hospital_or_of_the_one_named(stack: Running) -> None:
    code, shown, errors = run("demo", stack.folder)
    assert (code, errors) == (0, ""), shown
    assert all(f"{hospital.name} · {hospital.version.name}" in shown for hospital in HOSPITALS)
    assert (shown.count("further pages of Observation"), shown.count("Ruth")) == (5, 5)
    assert "none known" not in shown
    for name in ("r4", "northgate"):
        code, shown, errors = run("demo", stack.folder, "--tenant", name)
        assert (code, errors, "Northgate" in shown, "Lakeside" in shown) == (0, "", True, False)


def test_a_demo_or_a_start_that_cannot_be_fails_in_one_line(stack: Running, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"http://127.0.0.1:{server.getsockname()[1]}"
    tenant = DemoTenant("t", "n", "r4", f"{silent}/r4")
    (tmp_path / "stopped").mkdir()
    demo_file.write(tmp_path / "stopped" / "demo.json", Demo(silent, "c", "s", (tenant,), None))
    nobody = "Northgate Children's Hospital: search: there is no patient No Body"
    taken = stack.demo.base_url.rpartition(":")[2]
    for arguments, expected in (
        (("demo", stack.folder, "--tenant", "r4", "--patient", "No", "Body"), nobody),
        (("demo", tmp_path), "start it first: make run"),
        (("demo", tmp_path / "stopped"), f"{silent} does not answer. Start it first: make run"),
        (("run", stack.folder), "the local stack is running already"),
        (("run", tmp_path, "--port", taken), f"port {taken} is taken: choose another with --port"),
    ):
        code, _, errors = run(*arguments)
        assert (code, errors.count("\n"), errors[: len(expected) + 7]) == (1, 1, f"Error: {expected}")


async def test_a_stop_leaves_nothing_behind_and_a_restart_keeps_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    other = "11111111-2222-4333-8444-555555555555"
    with started(folder) as first:
        demo = first.demo
        await tenants_table(first, {"PartitionKey": other, "RowKey": "r4", "BaseUrl": "https://fhir.example.org"})
        children = descendants(first)
        assert len(children) >= 3
        assert first.stop() == 0
        assert are_gone(children)
        assert "Traceback" not in first.output.read_text()

    settings = first.settings
    settings["Values"]["TOKEN_LIFETIME_SECONDS"] = "120"
    (folder / "local.settings.json").write_text(json.dumps(settings))
    with started(folder) as second:
        assert second.demo == demo
        assert second.token(demo.tenants[0].tenant_id).json()["expires_in"] == 120
        assert await tenants_table(second) == {other, *(tenant.tenant_id for tenant in demo.tenants)}
        children = descendants(second)
        second.stop(signal.SIGKILL)
        assert are_gone(children, _STOP_SECONDS)


async def tenants_table(running: Running, *rows: dict[str, object]) -> set[str]:
    """Puts rows into the stack's table, and returns the tenants that are there."""
    async with table_service(Settings.from_environment(running.settings["Values"])) as service:
        table = Table(service, TENANTS)
        for row in rows:
            await table.put(row)
        return {str(row["PartitionKey"]) async for row in table.scan(["PartitionKey"])}


def test_ctrl_c_stops_the_services_which_run_without_functions(tmp_path: Path) -> None:
    with started(tmp_path / "stack", "services") as running:
        children = descendants(running)
        assert not any("local.functions_host" in child.cmdline() for child in children)
        values = running.settings["Values"]
        assert values["FUNCTIONS_WORKER_RUNTIME"] == "python"
        Settings.from_environment(values)
        assert running.stop(signal.SIGINT) == 0
        assert are_gone(children)


@pytest.mark.parametrize(("part", "name"), [("local.hospitals", "The hospitals' server"), ("azurite", "Azurite")])
def test_when_a_part_dies_the_rest_is_stopped(tmp_path: Path, part: str, name: str) -> None:
    with started(tmp_path / "stack", "services") as running:
        children = descendants(running)
        victim = next(child for child in children if part in " ".join(child.cmdline()) and not child.children())
        victim.kill()
        assert running.process.wait(_STOP_SECONDS) == 1
        assert are_gone(children)
    output = running.output.read_text()
    assert f"Error: {name} ended unexpectedly" in output
    assert "Traceback" not in output
