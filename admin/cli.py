"""The root of the command line, and `init`."""

from datetime import UTC, datetime

import click

from admin.azure import azure
from admin.clients import client
from admin.command import examples, global_options, with_session
from admin.completion import completion
from admin.doctor import doctor
from admin.keys import keys
from admin.session import Session
from admin.smoke import smoke
from admin.tenant_files import export_tenants, import_tenants
from admin.tenant_list import list_tenants, show
from admin.tenants import tenant
from admin.upkeep import upkeep
from admin.verify import verify


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "init",
        "tenant set 72f988bf-86f1-41af-91ab-2d7cd011db47 stu3 --base-url https://fhir.example.com/stu3",
        "client create --name 'Care app' --owner ada@example.com --tenants '*' --expires 90d",
        "doctor",
        "tenant list --local",
        "client list --json",
    ),
)
@global_options
def cli() -> None:
    """Keeps the gateway's tenants, clients and signing keys.

    Settings come from the environment: PUBLIC_BASE_URL, KEY_VAULT_URL and TABLES_ENDPOINT, as the gateway has them; you
    need the roles Key Vault Secrets Officer and Storage Table Data Contributor, and be signed in (az login). A change
    is seen by the gateway within 60 seconds; -v prints its audit line on standard error.
    """


@cli.command(epilog=examples("init"))
@with_session
async def init(session: Session) -> None:
    """Creates the tables, and the first signing key if there is none.

    Doing it again changes nothing.
    """
    from shared.oauth.signing_keys import SECRET_NAME, rotate

    tables = await session.create_tables()
    now = datetime.now(UTC)
    if any(version.usable(now) for version in await session.vault.versions(SECRET_NAME)):
        session.output.result({"tables": tables, "created_key": None}, "The tables and a signing key are there.")
        return
    key = await rotate(session.vault, session.settings)
    await session.audit("keys.rotate", key.version)
    made = {"tables": tables, "created_key": key.version}
    session.output.result(made, f"The tables are there; signing key {key.version} is new.")


for command in (client, tenant, keys, azure, doctor, smoke, upkeep, completion):
    cli.add_command(command)
for command in (list_tenants, show, import_tenants, export_tenants, verify):
    tenant.add_command(command)
