"""`./gateway tenant verify` against the demo hospitals, on real stores."""

import re
import shlex
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from local.hospitals.hospital import LAKESIDE, NORTHGATE, RIVERSIDE, Hospital
from local.hospitals.server import create_app
from shared.settings import Settings
from shared.stores.tables import TENANTS, Table, table_service
from shared.stores.vault import Vault
from tests.admin.command_line import CommandLine, Result
from tests.onboarding.conftest import CREDENTIALS, WAYS_IN


@dataclass
class Stack:
    """A table of tenants that begins empty, and hospitals for its rows."""

    admin: CommandLine
    environment: dict[str, str]
    tenants: Table
    vault: Vault
    running: AsyncExitStack

    async def row(self, hospital: Hospital, tenant_id: str | None = None, **columns: object) -> str:
        """A tenant's row for a hospital that is started for it."""
        app = create_app(hospital, hospital.credential(**CREDENTIALS[hospital.key]))
        server = await self.running.enter_async_context(TestServer(app, host="127.0.0.1", access_log=None))
        tenant_id = tenant_id or str(uuid.uuid4())
        name = f"provider-{uuid.uuid4().hex}"
        access, secret = WAYS_IN[hospital]
        origin = str(server.make_url("")).rstrip("/")
        await self.vault.set(name, secret)
        await self.tenants.put(
            {
                "PartitionKey": tenant_id,
                "RowKey": hospital.version.value,
                "BaseUrl": str(server.make_url(hospital.base_path)),
                "Name": hospital.name,
                "AuthSecret": name,
                **{column: value.format(origin=origin) for column, value in access.items()},
                **columns,
            }
        )
        return tenant_id

    async def verify(self, *arguments: str) -> Result:
        """Runs the command."""
        return await self.admin("tenant verify", *arguments, environment=self.environment)


@pytest.fixture
async def stack(environment: dict[str, str], vault: Vault, tmp_path: Path) -> AsyncIterator[Stack]:
    async with AsyncExitStack() as running, table_service(Settings.from_environment(environment)) as service:
        table = Table(service, TENANTS)
        await table.create()
        yield Stack(CommandLine(tmp_path), environment, table, vault, running)


async def test_a_whole_provider_ends_with_0_even_when_strict(stack: Stack) -> None:
    tenant_id = await stack.row(RIVERSIDE)
    result = await stack.verify(tenant_id.upper(), "dstu2", "--strict")
    assert (result.code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == ("Riverside General Hospital (FHIR DSTU2): the app will load, and all that it reads is there.")
    table = {line.split()[0]: line.split() for line in lines if line}
    assert table["Observation"][:2] == ["Observation", "works"]
    assert table["Observation"][3:] == ["application/json+fhir", "10", "yes", "all", "all"]


async def test_gaps_end_with_0_and_with_1_when_strict(stack: Stack) -> None:
    tenant_id = await stack.row(NORTHGATE, Batch="native")
    result = await stack.verify(tenant_id, "r4")
    assert (result.code, "set Batch=split in the row" in result.stdout) == (0, True)
    assert (await stack.verify(tenant_id, "r4", "--strict")).code == 1


async def test_a_provider_with_which_the_app_will_not_load_ends_with_1(stack: Stack) -> None:
    tenant_id = await stack.row(RIVERSIDE, AuthSecret="nowhere")
    result = await stack.verify(tenant_id, "dstu2")
    assert (result.code, "the app will not load." in result.stdout) == (1, True)
    assert "Key Vault secret nowhere is missing" in result.stdout


async def test_json_is_one_report_for_a_version_and_a_list_without(stack: Stack) -> None:
    tenant_id = await stack.row(RIVERSIDE)
    await stack.row(NORTHGATE, tenant_id, Enabled=False)
    report = (await stack.verify(tenant_id, "dstu2", "--json")).json
    assert (report["tenant_id"], report["version"], report["verdict"]) == (tenant_id, "dstu2", "loads")
    assert report["summary"].startswith("Riverside General Hospital (FHIR DSTU2): the app will load")
    all_rows = (await stack.verify("--json", tenant_id)).json
    assert [(found["version"], found["verdict"]) for found in all_rows] == [("dstu2", "loads"), ("r4", "loads")]
    both = (await stack.verify(tenant_id)).stdout
    assert both.index("Riverside General Hospital") < both.index("\n\nNorthgate Children's Hospital")
    named = await stack.verify(tenant_id, "dstu2", "--patient-id", "nobody", "--json")
    assert (named.code, named.json["resources"][0]["standing"]) == (1, "missing")
    assert "nobody" not in named.stdout + named.stderr


async def test_what_can_not_run_ends_with_2(stack: Stack) -> None:
    tenant_id = await stack.row(RIVERSIDE)
    typed = {"PartitionKey": tenant_id, "RowKey": "stu3", "BaseUrl": "https://fhir.example.com", "Acess": "write"}
    await stack.tenants.put(typed)
    nobody = "11111111-2222-4333-8444-555555555555"
    for arguments, problem in (
        ([tenant_id, "r4"], f"tenant {tenant_id} has no row for r4"),
        ([nobody], f"there is no row for tenant {nobody}"),
        (["riverside"], "'riverside' is not a tenant ID"),
        ([tenant_id, "dstu2", "--patient-id", "a/b"], "--patient-id is not a FHIR id"),
        ([tenant_id, "stu3"], "column Acess: is not a column of this table"),
        ([tenant_id], "column Acess: is not a column of this table"),
        ([tenant_id, "--all"], "give either a tenant"),
        (["--all", "--patient-id", "1"], "give either a tenant"),
        ([], "give either a tenant"),
    ):
        result = await stack.verify(*arguments)
        assert (result.code, result.stdout) == (2, "")
        assert problem in result.stderr
    missing = await stack.admin("tenant verify --all", environment={**stack.environment, "KEY_VAULT_URL": ""})
    assert (missing.code, "KEY_VAULT_URL is not set" in missing.stderr) == (2, True)


async def test_all_rows_that_are_switched_on_are_a_line_each(stack: Stack) -> None:
    nothing = await stack.verify("--all", "--json")
    assert (nothing.code, nothing.json) == (0, [])
    loads = await stack.row(RIVERSIDE)
    await stack.row(RIVERSIDE, Enabled=False)
    result = await stack.verify("--all")
    assert result.code == 0
    header, line = result.stdout.splitlines()
    assert header.split()[:4] == ["tenant", "id", "version", "name"]
    assert line.split()[:6] == [loads, "dstu2", *RIVERSIDE.name.split(), "loads"]

    gaps = await stack.row(NORTHGATE, Batch="native")
    assert (await stack.verify("--all")).code == 0
    assert (await stack.verify("--all", "--strict")).code == 1

    fails = await stack.row(RIVERSIDE, AuthSecret="nowhere")
    assert (await stack.verify("--all")).code == 1

    wrong = str(uuid.uuid4())
    await stack.tenants.put({"PartitionKey": wrong, "RowKey": "stu3", "BaseUrl": "ftp://x"})
    result = await stack.verify("--all", "--json")
    assert result.code == 2
    found = {report["tenant_id"]: report for report in result.json}
    assert {tenant_id: report["verdict"] for tenant_id, report in found.items()} == {
        loads: "loads",
        gaps: "loads-with-gaps",
        fails: "does-not-load",
        wrong: "could-not-run",
    }
    assert "column BaseUrl" in found[wrong]["problem"]
    assert "batch: the app asks by batch, and that fails" in (await stack.verify("--all")).stdout


async def test_the_readmes_commands_for_the_admin_do_what_it_says(stack: Stack) -> None:
    """As they stand there, but for the address of the hospital, which asks for a credential."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    block = re.search(r"## For the admin\n.*?```sh\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    lines = [shlex.split(line)[1:] for line in block[1].splitlines()]
    [(tenant_id, url)] = [
        (line[2], line[line.index("--base-url") + 1]) for line in lines if line[:2] == ["tenant", "set"]
    ]
    await stack.row(LAKESIDE, tenant_id)
    [row] = await stack.tenants.partition(tenant_id)
    results = {"init": await stack.admin("init", environment=stack.environment)}
    hospitals = f"TenantId,FhirVersion,BaseUrl\n{uuid.uuid4()},r4,https://fhir.example.com/r4\n"
    (stack.admin.folder / "hospitals.csv").write_text(hospitals)
    for line in lines:
        words = [str(row["BaseUrl"]) if word == url else word.replace("~", str(stack.admin.folder)) for word in line]
        results[" ".join(line[:2])] = await stack.admin(*words, environment=stack.environment)
    assert {name: result.stderr for name, result in results.items() if result.code} == {}
    assert "the app will load, and all that it reads is there." in results["tenant verify"].stdout
    assert len(results) == len(lines) + 1
