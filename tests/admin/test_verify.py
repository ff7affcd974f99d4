"""`./gateway tenant verify` against the demo hospitals, on real stores."""

import re
import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.hospitals.hospital import LAKESIDE, NORTHGATE, RIVERSIDE, Hospital
from local.seed import TENANT_IDS
from shared.settings import Settings
from shared.stores.tables import CHECKS, TENANTS, Table, table_service
from shared.stores.vault import Vault
from tests.admin.command_line import CommandLine, Result
from tests.onboarding.conftest import Onboarding

NOBODY = "11111111-2222-4333-8444-555555555555"


@dataclass
class Stack:
    """A table of tenants that begins empty, and hospitals for its rows."""

    admin: CommandLine
    environment: dict[str, str]
    tenants: Table
    onboarding: Onboarding

    async def row(self, hospital: Hospital, **columns: object) -> str:
        """The tenant of a row for a hospital that is started for it."""
        row = await self.onboarding.row(hospital, **columns)
        await self.tenants.put(row)
        return str(row["PartitionKey"])

    async def run(self, *arguments: str) -> Result:
        return await self.admin(*arguments, environment=self.environment)

    async def verify(self, *arguments: str) -> Result:
        return await self.run("tenant verify", *arguments)


@pytest.fixture
async def stack(environment: dict[str, str], vault: Vault, tmp_path: Path) -> AsyncIterator[Stack]:
    settings = Settings.from_environment(environment)
    async with AsyncExitStack() as running, table_service(settings) as service:
        table = Table(service, TENANTS)
        await table.create()
        await Table(service, CHECKS).create()
        yield Stack(CommandLine(tmp_path), environment, table, Onboarding(vault, settings, running))


async def test_the_exit_code_is_the_verdict(stack: Stack) -> None:
    """0 when the app will load, with gaps too unless --strict, and 1 when it will not."""
    whole, gaps = await stack.row(RIVERSIDE), await stack.row(NORTHGATE, Batch="native")
    result = await stack.verify(whole.upper(), "dstu2", "--strict")
    assert (result.code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "Riverside General Hospital (FHIR DSTU2): the app will load, and all that it reads is there."
    table = {line.split()[0]: line.split() for line in lines if line}
    assert table["Observation"][:2] == ["Observation", "works"]
    assert table["Observation"][3:] == ["application/json+fhir", "10", "yes"]
    result = await stack.verify(gaps, "r4")
    ours, to_send = result.stdout.split("For you to mend:")[1].split("To send to the hospital:")
    assert (result.code, "set Batch=split in the row" in ours, "atch" in to_send) == (0, True, False)
    assert (await stack.verify(gaps, "r4", "--strict")).code == 1
    result = await stack.verify(await stack.row(RIVERSIDE, AuthSecret="nowhere"), "dstu2")
    assert (result.code, "the app will not load." in result.stdout) == (1, True)
    assert "Key Vault secret nowhere is missing" in result.stdout


async def test_json_is_one_report_for_a_version_and_a_list_without(stack: Stack) -> None:
    tenant_id = await stack.row(RIVERSIDE)
    await stack.row(NORTHGATE, PartitionKey=tenant_id, Enabled=False)
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
    for arguments, problem in (
        ([tenant_id, "r4"], f"tenant {tenant_id} has no row for r4"),
        ([NOBODY], f"there is no row for tenant {NOBODY}"),
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
    verdicts = {await stack.row(RIVERSIDE): "loads"}
    await stack.row(RIVERSIDE, Enabled=False)
    result = await stack.verify("--all")
    header, line = result.stdout.splitlines()
    assert (result.code, header.split()[:4]) == (0, ["tenant", "id", "version", "name"])
    assert line.split()[:6] == [*verdicts, "dstu2", *RIVERSIDE.name.split(), "loads"]

    verdicts |= {await stack.row(NORTHGATE, Batch="native"): "loads-with-gaps"}
    assert [(await stack.verify("--all", *strict)).code for strict in ((), ("--strict",))] == [0, 1]
    verdicts |= {await stack.row(RIVERSIDE, AuthSecret="nowhere"): "does-not-load"}
    result = await stack.verify("--all")
    assert (result.code, "batch: the app asks by batch, and that fails" in result.stdout) == (1, True)

    await stack.tenants.put({"PartitionKey": NOBODY, "RowKey": "stu3", "BaseUrl": "ftp://x"})
    result = await stack.verify("--all", "--json")
    found = {report["tenant_id"]: report for report in result.json}
    assert (result.code, "column BaseUrl" in found[NOBODY]["problem"]) == (2, True)
    told = {tenant_id: report["verdict"] for tenant_id, report in found.items()}
    assert told == verdicts | {NOBODY: "could-not-run"}


async def test_the_readmes_commands_for_the_admin_do_what_it_says(stack: Stack) -> None:
    """As they stand there, beside the local stack, whose hospital is a row there."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (block,) = re.findall(r"## For the admin\n.*?```sh\n(.*?)```", readme, re.DOTALL)
    lines = [shlex.split(line)[1:] for line in block.splitlines()]
    stack.admin.configure(stack.environment)
    await stack.row(LAKESIDE, PartitionKey=TENANT_IDS[LAKESIDE])
    printed = {"": await stack.admin("init --local")}
    for line in lines:
        printed[" ".join(line)] = await stack.admin(*(word.replace("~", str(stack.admin.folder)) for word in line))
    assert {line: result.stderr for line, result in printed.items() if result.code or result.stderr} == {}
    (listed, verified, _, filtered, created, expiring, exported, imported, _) = list(printed.values())[1:]
    assert "the app will load, and all that it reads is there." in verified.stdout
    assert (LAKESIDE.name in listed.stdout, LAKESIDE.name in filtered.stdout) == (True, False)
    assert "River Clinic" in filtered.stdout
    assert created.stdout.split()[2] in expiring.stdout
    assert (exported.stdout, imported.stdout) == (
        "2 rows are written.\n",
        "0 added, 0 changed, 2 unchanged, 0 refused\n",
    )
