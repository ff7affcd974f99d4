"""`azure ...`: a deployment's parameter file, what deploying it would change, and the settings that come out of it."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from admin.command import confirm, examples
from admin.package import PARAMETERS, package
from admin.session import DEPLOYED_SETTINGS, PROJECT

_SIZES = ("small", "large")
_PORTAL = "8d2b6a0e-5f8c-4a62-9d0e-3c1f7b9a4e55"
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_GROUP = click.option(
    "--resource-group",
    envvar="AZURE_RESOURCE_GROUP",
    default="fhir-gateway",
    show_default="AZURE_RESOURCE_GROUP, else fhir-gateway",
    help="The group of the deployment.",
)
# The last deployment of the templates that succeeded, whatever deployed it: only that has these outputs.
_LAST = "sort_by([?properties.outputs.publicBaseUrl], &properties.timestamp)[-1].properties"

# What a change of each of these parameters does to those who use the gateway already.
_CONSEQUENCES: Mapping[str, str] = {
    "name": "everything is made anew under other names: another issuer, an empty directory and an empty vault",
    "location": "what is deployed can't move: Azure refuses it",
    "customDomain": "issuer and audience of every token, and every link, name another host: every app must be told",
    "directoryRedundancy": "the directory's copies move; not every change is possible on an account that is in use",
    "zoneRedundant": "hospitals see another address, which they must let in first; plans may have to be made anew",
    "privateNetwork": "hospitals see other addresses, and who reaches vault, tables and packages changes",
    "addresses": "subnets that are in use can't be given other addresses",
    "frontDoorId": "who reaches the public app changes",
    "frontAddresses": "who reaches the public app changes",
}


@click.group()
def azure() -> None:
    """A deployment in Azure, by the Azure command line (az): sign in with az login first."""
    if not (PROJECT / "infra").is_dir():
        raise click.ClickException("the templates are not here: this needs a clone of the project")


azure.add_command(package)


@azure.command(
    epilog=examples(
        f"azure init --size small --portal-client-id {_PORTAL} --alert-email operator@example.com",
        f"azure init --size large --portal-client-id {_PORTAL} --custom-domain fhir.example.com",
    )
)
@click.option("--size", type=click.Choice(_SIZES), envvar="GATEWAY_SIZE", required=True, help="What to begin with.")
@click.option("--portal-client-id", envvar="PORTAL_CLIENT_ID", required=True, help="portalClientId.")
@click.option("--admin-group-id", envvar="ADMIN_GROUP_ID", help="adminGroupId.")
@click.option("--alert-email", envvar="ALERT_EMAIL", help="alertEmail.")
@click.option("--custom-domain", envvar="CUSTOM_DOMAIN", help="customDomain.")
@click.option(
    "--admin-address",
    "admin_addresses",
    multiple=True,
    envvar="ADMIN_ADDRESSES",
    metavar="CIDR",
    help="adminAddresses; repeatable, or several in ADMIN_ADDRESSES.",
)
@click.option("--replace", is_flag=True, help="Write over the file that is there.")
def init(size: str, admin_addresses: tuple[str, ...], replace: bool, **given: str | None) -> None:
    """Makes the deployment's own parameter file, infra/gateway.bicepparam, from one of the two sizes.

    Each option is a parameter of infra/main.bicep, which says what it is. The file is yours from then on: put in
    whatever else is not as the templates have it, and keep it. Every deployment takes it.
    """
    if PARAMETERS.exists() and not replace:
        raise click.ClickException(f"{_shown(PARAMETERS)} is there already: edit it, or add --replace")
    values: dict[str, object] = {
        re.sub("_(.)", lambda found: found[1].upper(), name): value for name, value in given.items() if value
    }
    values |= {"adminAddresses": [*admin_addresses]} if admin_addresses else {}
    if environment := os.environ.get("AZURE_ENV_NAME"):  # azd's, which finds by it what belongs to it
        values["tags"] = {"azd-env-name": environment}
    lines = (PROJECT / "infra" / f"main.{size}.bicepparam").read_text("utf-8").splitlines()
    chosen = [line for line in lines if line.startswith("param ") and "readEnvironmentVariable(" not in line]
    own = [f"param {name} = {_literal(value)}" for name, value in values.items()]
    text = "\n".join([f"{lines[0]} Made by ./gateway azure init.", "using 'main.bicep'", "", *own, "", *chosen, ""])
    PARAMETERS.write_text(text, "utf-8")
    click.echo(f"{_shown(PARAMETERS)} is there. Keep it: every deployment takes it, and git does not.")


@azure.command(epilog=examples("azure check", "azure check --resource-group fhir-gateway --yes"))
@_GROUP
@_YES
def check(resource_group: str, yes: bool) -> None:
    """Compares infra/gateway.bicepparam with what is deployed, and asks before what can't be undone.

    Prints each parameter that changes. A change of issuer, redundancy or network is told with what it does to those who
    use the gateway, and needs a yes. Changes nothing; az deployment group what-if shows the resources.
    """
    if not PARAMETERS.exists():
        raise click.ClickException(f"there is no {_shown(PARAMETERS)}: make it with ./gateway azure init")
    deployed = _last_deployment(resource_group)
    compiled = json.loads(_az("bicep", "build-params", "--file", str(PARAMETERS), "--stdout"))
    wanted = _values(json.loads(compiled["parametersJson"])["parameters"])
    defaults = {name: of.get("defaultValue") for name, of in json.loads(compiled["templateJson"])["parameters"].items()}
    if deployed is None:
        click.echo(f"Nothing is deployed to {resource_group} yet.")
        return
    before = defaults | _values(deployed["parameters"])
    # A default that is an expression is worked out in Azure: it is what was deployed.
    after = {name: before[name] if str(value)[:1] == "[" else value for name, value in defaults.items()} | wanted
    changed = sorted(name for name in after if after[name] != before.get(name))
    for name in changed:
        click.echo(f"{name}: {_literal(before.get(name))} -> {_literal(after[name])}")
    click.echo(f"{len(changed) or 'No'} parameter{'s' * (len(changed) != 1)} will change.")
    for name in (warned := [name for name in changed if name in _CONSEQUENCES]):
        click.echo(f"Warning: {name}: {_CONSEQUENCES[name]}.")
    if warned:
        confirm("Deploy that?", yes=yes)


@azure.command("env", epilog=examples("azure env"))
@_GROUP
def write_settings(resource_group: str) -> None:
    """Writes gateway.env from what is deployed: every output, as a line such as PUBLIC_BASE_URL=https://...

    The command line reads it, unless --local is given. A shell does too: set -a; . ./gateway.env; set +a
    """
    deployed = _last_deployment(resource_group)
    if deployed is None:
        raise click.ClickException(f"nothing is deployed to {resource_group} yet")
    outputs = _values(deployed["outputs"])
    values = {re.sub("([A-Z])", r"_\1", name).upper(): str(value) for name, value in outputs.items()}
    values["AZURE_RESOURCE_GROUP"] = resource_group
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in values.items()]
    (PROJECT / DEPLOYED_SETTINGS).write_text("".join(lines), "utf-8")
    click.echo(f"{DEPLOYED_SETTINGS} is there: {values['PUBLIC_BASE_URL']}")


def _last_deployment(resource_group: str) -> dict[str, Any] | None:
    """Parameters and outputs of the last deployment that succeeded, None before the first."""
    if _az("group", "exists", "--name", resource_group).strip() != "true":
        return None
    found = _az("deployment", "group", "list", "--resource-group", resource_group, "--query", _LAST)
    properties: dict[str, Any] | None = json.loads(found or "null")
    return properties


def _az(*arguments: str) -> str:
    """What the Azure command line prints. Raises ClickException with the last line that it says of an error."""
    program = shutil.which("az")
    if program is None:
        raise click.ClickException("there is no az: install the Azure command line, and sign in with az login")
    line = [program, *arguments, "--output", "json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise click.ClickException(done.stderr.strip().rpartition("\n")[2] or f"az ended with {done.returncode}")
    return done.stdout


def _values(of: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """The values of parameters or of outputs, by name."""
    return {name: item.get("value") for name, item in of.items()}


def _literal(value: object) -> str:
    """A value as Bicep spells it."""
    if isinstance(value, str):
        return "'{}'".format(value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${"))
    if isinstance(value, list):
        return f"[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_literal(name)}: {_literal(item)}' for name, item in value.items())} }}"
    return json.dumps(value)


def _shown(file: Path) -> Path:
    return file.relative_to(PROJECT)
