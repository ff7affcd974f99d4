"""Timer functions on the local host: when they are due, and what they are spared."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.azurite.table_service import TableService
from local.child_process import ChildProcess
from local.functions_host.functions import LoadError
from local.functions_host.timers import find_timers, invoke_timer, load_timers, scheduled
from local.vault.server import VaultServer
from shared.fhir.versions import FhirVersion
from tests.deployment import Deployment
from tests.host import with_upkeep_every_second

THURSDAY = datetime(2026, 11, 26, 20, 30, 7, tzinfo=UTC)
# Fails the first time; a run takes longer than it is to the next.
SLOW = """
import asyncio
runs, enough = [], asyncio.Event()
async def main(timer):
    runs.append("begins")
    if len(runs) == 1:
        raise ValueError(f"past due: {timer.past_due}")
    await asyncio.sleep(1.3)
    runs.append("ends")
    if len(runs) == 5:
        enough.set()
"""


def timer(root: Path, name: str, schedule: str, code: str = "def main(timer): pass") -> Path:
    binding = {"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": schedule}
    (root / name).mkdir()
    (root / name / "function.json").write_text(json.dumps({"bindings": [binding]}))
    (root / name / "__init__.py").write_text(code)
    return root


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("0 */15 2-5 * * *", "2026-11-27 02:00:00"),
        ("*/5 * * * * *", "2026-11-26 20:30:10"),
        ("30 29,31 20 * * *", "2026-11-26 20:31:30"),
        ("0 0 2 * * Sat,Sun", "2026-11-28 02:00:00"),
        ("0 0 0 13 * 5", "2027-08-13 00:00:00"),  # the 13th, if that is a Friday
    ],
)
def test_a_schedule_begins_with_the_second(tmp_path: Path, schedule: str, due: str) -> None:
    (found,) = find_timers(timer(tmp_path, "timer_due", schedule))
    assert f"{found.next(THURSDAY):%Y-%m-%d %H:%M:%S}" == due


@pytest.mark.parametrize("schedule", ["", "0 2 * * *", "0 0 2 * * * 2026", "0 0 25 * * *", "0 0 0 30 2 *", "%NIGHTS%"])
def test_a_schedule_that_azure_would_not_take_is_an_error_that_names_the_function(
    tmp_path: Path, schedule: str
) -> None:
    with pytest.raises(LoadError, match=r"^timer_odd: schedule"):
        find_timers(timer(tmp_path, "timer_odd", schedule))


async def test_a_timer_runs_once_at_a_time_and_its_error_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (slow,) = load_timers(timer(tmp_path, "timer_slow", "* * * * * *", SLOW))
    runs = slow.main.__globals__["runs"]
    async with scheduled([slow], invoke_timer), asyncio.timeout(30):
        await slow.main.__globals__["enough"].wait()
    assert runs[:5] == ["begins", "begins", "ends", "begins", "ends"]
    assert "timer_slow failed:" in (errors := capsys.readouterr().err)
    assert "ValueError: past due: False" in errors


async def test_the_nights_work_is_done_by_the_timer(
    tmp_path: Path, vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tables = await TableService.start(tmp_path_factory.mktemp("upkeep-tables"))
    async with Deployment.on(vault_server, tables.connection_string) as deployment:
        tenant = await deployment.tenant("http://127.0.0.1:9/stu3", TimeoutSeconds="1")
        command = [sys.executable, "-m", "local.functions_host", "--port", "0"]
        command += ["--root", str(with_upkeep_every_second(tmp_path))]
        host = await ChildProcess.start("host", command, {**os.environ, **deployment.environment})
        try:
            async with asyncio.timeout(60):
                assert await host.printed(b'"event":"upkeep","checked":1,'), await host.ended()
        finally:
            await host.stop()
        checked = await deployment.application.checks.latest(tenant, FhirVersion.STU3)
        assert checked is not None
        assert (checked.by, checked.problem) == ("upkeep", "the server could not be reached")
    await tables.stop()
