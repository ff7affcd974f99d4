"""The deployment guide, rehearsed: every command of it in order, from an empty subscription to `smoke` passing.

`az`, `func` and `azd` are stand-ins (`azure_stand_in.py`), git and GitHub are not there; everything else is real: the
command line, the package, Bicep, the functions on the tables and the vault of a laptop. Run by `make check`.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from local.azurite.table_service import TableService
from local.hospitals.hospital import LAKESIDE, NORTHGATE
from local.hospitals.server import create_app
from local.ports import free_port
from local.serving import serving
from local.vault.server import VaultServer
from tests.docs.pages import DOCS, TENANT, Fence, blocks
from tests.host import Host
from tests.infra.bicep import BICEP, MISSING, ROOT

AZ = shutil.which("az")
STAND_IN = Path(__file__).with_name("azure_stand_in.py")
pytestmark = [
    pytest.mark.skipif(AZ is None, reason="the Azure command line is not installed: no rehearsal"),
    pytest.mark.skipif(BICEP is None, reason=MISSING),
]
PLACES = {"subscription-id": TENANT, "region": "eastus", "tenant-id": TENANT, "client-id": "$CLIENT_ID"}
NEW = {"groups": {}, "apps": {}, "credentials": {}, "deployments": [], "published": [], "commands": [], "azd": {}}


class NoSignIn:
    """A hospital that asks nobody for a credential."""

    challenge = ""

    def accepts(self, headers: Mapping[str, str]) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A clone of the project in which nothing was done yet, a subscription in which nothing is, and a shell."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def state(self) -> Any:
        """What is in Azure, and the commands that were taken."""
        return json.loads(Path(self.environment["REHEARSAL"]).read_text())

    async def run(self, script: str) -> str:
        """Runs a script that must end well; gives what it printed."""
        code, printed = await self.attempt(script)
        assert code == 0, printed
        return printed

    async def attempt(self, script: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-u", "-o", "pipefail", "-c", script),
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 900)
        return process.returncode, printed.decode()


def clone(folder: Path) -> None:
    """A clone of the project, as it stands, in which everything is installed and nothing was done yet."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0"):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "bench/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")


def stand_ins(folder: Path) -> None:
    """The programs that would reach Azure, GitHub or the history of the project."""
    folder.mkdir()
    for name, line in {
        **{name: f'exec {sys.executable} -S {STAND_IN} {name} "$@"' for name in ("az", "func")},
        "azd": f'exec {sys.executable} {STAND_IN} azd "$@"',
        "make": 'case " $* " in *" package "*) [ -d dist/package ] || exec ./gateway azure package > /dev/null ;; esac',
        "git": "",
        "gh": "cat > /dev/null",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


@pytest.fixture(scope="module")
def azure_cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket on which the Azure command line's own parser takes arguments."""
    folder = tmp_path_factory.mktemp("az")
    of_az = (Path(str(AZ)).resolve().with_name("python"), Path("/opt/az/bin/python3"))
    python = next((str(file) for file in of_az if file.exists()), sys.executable)
    environment = os.environ | {"AZURE_CONFIG_DIR": str(folder), "AZURE_CORE_COLLECT_TELEMETRY": "no"}
    server = subprocess.Popen([python, STAND_IN, "serve", str(folder / "socket")], env=environment)
    while not (folder / "socket").exists():
        assert server.poll() is None
        time.sleep(0.1)
    yield str(folder / "socket")
    server.kill()
    server.wait()


@pytest.fixture
async def rehearsal(tmp_path: Path, azure_cli: str) -> AsyncIterator[Rehearsal]:
    clone(folder := tmp_path / "clone")
    stand_ins(programs := tmp_path / "programs")
    async with AsyncExitStack() as parts:
        tables = await TableService.start(tmp_path / "tables")
        parts.push_async_callback(tables.stop)
        vault = await VaultServer.start(tmp_path / "vault")
        parts.push_async_callback(vault.stop)
        port = free_port()
        laptop = {"LOCAL_VAULT": str(vault.folder), "TABLES_CONNECTION_STRING": tables.connection_string}
        settings = laptop | {"PUBLIC_BASE_URL": f"http://127.0.0.1:{port}", "KEY_VAULT_URL": vault.url}
        host = await Host.start(settings, tmp_path / "host.log", port)
        parts.push_async_callback(host.stop)
        outputs = {"publicBaseUrl": settings["PUBLIC_BASE_URL"], "keyVaultUrl": vault.url}
        outputs |= {"gatewayAppName": "fhirgw-1", "portalAppName": "fhirgw-portal-1"}
        for hospital in (LAKESIDE, NORTHGATE):
            served = await parts.enter_async_context(serving(web.AppRunner(create_app(hospital, NoSignIn()))))
            outputs[hospital.version.value] = f"http://127.0.0.1:{served}{hospital.base_path}"
        (tmp_path / "state.json").write_text(json.dumps(NEW | {"outputs": outputs}))
        yield Rehearsal(
            folder,
            {
                **laptop,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "REHEARSAL": str(tmp_path / "state.json"),
                "BICEP": str(BICEP),
                "AZ_SOCKET": azure_cli,
                "RETRY_SECONDS": "1",
            },
        )


def guide(rehearsal: Rehearsal) -> tuple[str, str]:
    """The commands of the guide, with values in it: those of `azd`, and those by hand."""
    fences = [block.text for block in blocks(DOCS / "deployment.md", raw=True) if isinstance(block, Fence)]
    text = "\n".join(fences)
    for version, url in rehearsal.state["outputs"].items():
        text = text.replace(f"https://<fhir-host>/{version}", url)
    text = re.sub(r"<([a-z][a-z-]*)>", lambda found: PLACES.get(found[1], f"the-{found[1]}"), text)
    # What a person reads on the terminal, and types where it is asked for.
    read = r"made=$(\1 --json); CLIENT_ID=$(field client_id); export GATEWAY_CLIENT_SECRET=$(field client_secret)"
    text = re.sub(r"^(\./gateway client create .*)$", read, text, flags=re.MULTILINE)
    azd, by_hand = text.split("azd up\n")
    field = "import json, sys; print(json.load(sys.stdin)[sys.argv[1]])"
    return f"{azd}azd up\n", f'field() {{ printf %s "$made" | .venv/bin/python -c \'{field}\' "$1"; }}\n{by_hand}'


async def test_every_command_of_the_guide_by_hand(rehearsal: Rehearsal) -> None:
    printed = await rehearsal.run(guide(rehearsal)[1])
    assert re.findall(r"^(?:fail|warn|skip) .*", printed, re.M) == [], printed
    assert "searches succeeded\n" in printed
    assert printed.count("Python Version: ") == 2
    assert '"status":"ok"' in printed
    state = rehearsal.state
    assert state["published"] == ["fhirgw-1", "fhirgw-portal-1"] * 4
    [portal] = [credential for credential in state["credentials"].values() if credential["name"] == "portal"]
    assert portal["subject"] == "the-portalPrincipalId"
    assert "PUBLIC_BASE_URL=" in (rehearsal.folder / "gateway.env").read_text()
    assert state["groups"] == {}


async def test_one_command_from_an_empty_subscription_to_smoke(rehearsal: Rehearsal) -> None:
    printed = await rehearsal.run(guide(rehearsal)[0])
    assert re.findall(r"^(?:fail|warn|skip) .*", printed, re.M) == [], printed
    assert "searches succeeded\n" in printed
    assert rehearsal.state["published"] == ["fhirgw-1", "fhirgw-portal-1"]
    assert '"clients": []' in (await rehearsal.run('printf \'{"clients": %s}\' "$(./gateway client list --json)"'))
    again = await rehearsal.run("azd up")
    assert "No parameters will change." in again


async def test_a_change_of_issuer_redundancy_or_network_needs_a_yes(rehearsal: Rehearsal) -> None:
    deploy = "az deployment group create --resource-group fhir-gateway --name x --parameters infra/gateway.bicepparam"
    init = "./gateway azure init --size small --portal-client-id 1f --alert-email"
    await rehearsal.run(
        f'az group create --name fhir-gateway --location x; {init} "o\'neil\\${{x@example.com"; ./gateway azure check'
    )
    assert "nothing is deployed" in (await rehearsal.attempt("./gateway azure env"))[1]
    await rehearsal.run(deploy)
    file = rehearsal.folder / "infra" / "gateway.bicepparam"
    file.write_text(file.read_text().replace("maximumInstances = 10", "maximumInstances = 20"))
    assert "maximumInstances: 10 -> 20\n1 parameter will change.\n" in await rehearsal.run("./gateway azure check")
    for parameter, changes in {
        "customDomain = 'fhir.example.com'": "issuer and audience",
        "zoneRedundant = true": "hospitals see another address",
        "privateNetwork = true": "hospitals see other addresses",
        "name = 'other'": "made anew",
    }.items():
        before = file.read_text()
        others = [line for line in before.splitlines() if not line.startswith(f"param {parameter.split()[0]} ")]
        file.write_text("\n".join([*others, f"param {parameter}", ""]))
        code, printed = await rehearsal.attempt("./gateway azure check")
        assert (code, "Warning: " in printed, changes in printed) == (2, True, True), printed
        file.write_text(before)
    assert (await rehearsal.attempt(f"{init} x"))[0] == 1
    assert "maximumInstances = 20" in file.read_text()
    await rehearsal.run(f"ADMIN_ADDRESSES='192.0.2.1/32 192.0.2.2/32' {init} x --replace; {deploy}")


async def test_a_wrong_command_would_be_noticed(rehearsal: Rehearsal) -> None:
    for line in (
        "az group create --name x --place y",
        "az group create --name x",
        "func azure functionapp publish fhirgw-1 --python --nobuild",
        "azd env new x --region y",
        "az deployment group create --resource-group nowhere --name x --parameters infra/main.large.bicepparam",
        "az vm list",
    ):
        code, printed = await rehearsal.attempt(f"export PORTAL_CLIENT_ID=x\n{line}")
        assert code != 0, printed
    assert rehearsal.state["commands"] == []
