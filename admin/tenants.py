"""`tenant ...`: the table `Tenants`, with the FHIR server of a hospital for each FHIR version."""

import asyncio
import re
import shlex
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import click

from admin.command import YES, confirm, examples, global_options, with_session
from admin.output import Fields
from admin.session import Session
from shared.directory.errors import InvalidTenantId, Refusal, RowError
from shared.directory.provider import AuthKind, Provider
from shared.directory.tenant_columns import ALL_COLUMNS, Column
from shared.directory.typed_text import credential, decoded, parse_tenant_id
from shared.fhir.versions import FhirVersion

F = TypeVar("F", bound=Callable[..., Any])

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
_MAX_FILE_BYTES = 64 * 1024  # more than Key Vault takes, in UTF-16 too


def version_argument(*, required: bool = True) -> Callable[[F], F]:
    """The argument VERSION, as a FhirVersion."""
    versions = click.Choice([version.value for version in FhirVersion], case_sensitive=False)
    return click.argument(
        "version",
        type=versions,
        required=required,
        callback=lambda context, parameter, value: value and FhirVersion(value),
    )


def _row_arguments(function: F) -> F:
    return click.argument("tenant")(version_argument()(function))


def _column_options(function: F) -> F:
    for column in reversed(ALL_COLUMNS):
        metavar = (column.type or "choice").upper().replace(" ", "_")
        option = click.option(f"--{kebab_case(column.name)}", column.name, metavar=metavar, help=_column_help(column))
        function = option(function)
    return function


def _column_help(column: Column) -> str:
    """The column's help, with its values or an example as a shell takes it."""
    if not column.choices:
        return f"{column.help} Such as {shlex.quote(column.example)}."
    return f"{column.help} One of {column.takes}{column.default and f'; {column.default} by default'}."


def kebab_case(column: str) -> str:
    """A column's name as an option: `BaseUrl` is `base-url`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", column).lower()


@click.group()
@global_options
def tenant() -> None:
    """Tenants: which FHIR server belongs to a hospital.

    A tenant is the GUID of the hospital's Entra tenant, in any spelling.
    """


@tenant.command(
    "set",
    epilog=examples(
        f"tenant set {GUID} stu3 --base-url https://fhir.example.com/stu3",
        f"tenant set {GUID} stu3 --auth basic --auth-secret riverside --secret-value-from password.txt",
        f"tenant set {GUID} stu3 --timeout-seconds 2 --max-concurrent ''",
    ),
)
@_row_arguments
@_column_options
@click.option(
    "--secret-value-from",
    type=click.File("rb"),
    metavar="FILE|-",
    help="Stores the credential in this file (- is standard input) in Key Vault, under the name in --auth-secret.",
)
@with_session
async def set_tenant(
    session: Session, /, tenant: str, version: FhirVersion, secret_value_from: BinaryIO | None, **columns: str | None
) -> None:
    """Makes a tenant's row for a FHIR version, or changes the columns given.

    An empty value ('') removes a column. The row is checked before anything is written.
    """
    changes = {column: value for column, value in columns.items() if value is not None}
    if secret_value_from is not None:
        provider = await session.tenants.preview(tenant, version, changes)
        await _store_secret(session, provider, _secret_value(secret_value_from))
    provider = await session.tenants.set(tenant, version, changes)
    await session.audit("tenant.set", _subject(provider.tenant, version), ", ".join(changes))
    session.output.record(provider_fields(provider))


@tenant.command(epilog=examples(f"tenant remove {GUID} stu3 --yes"))
@_row_arguments
@YES
@with_session
async def remove(session: Session, tenant: str, version: FhirVersion, yes: bool) -> None:
    """Removes a tenant's row for a FHIR version. Its credential stays in Key Vault."""
    confirm(f"Remove the row of tenant {tenant} for {version.value}? The app can't reach its server any more.", yes=yes)
    if not await session.tenants.remove(tenant, version):
        raise _no_row(tenant, version)
    await session.audit("tenant.remove", _subject(tenant, version))
    removed = {"tenant_id": parse_tenant_id(tenant), "version": version.value, "removed": True}
    session.output.result(removed, f"The row of tenant {tenant} for {version.value} is removed.")


def _add_switch(word: str, help: str) -> None:
    """Adds the command `enable` or `disable`."""

    @tenant.command(word, help=help, epilog=examples(f"tenant {word} {GUID} stu3"))
    @_row_arguments
    @with_session
    async def switch(session: Session, tenant: str, version: FhirVersion) -> None:
        await existing_row(session, tenant, version)
        provider = await session.tenants.set(tenant, version, {"Enabled": "true" if word == "enable" else "false"})
        await session.audit(f"tenant.{word}", _subject(tenant, version))
        switched = {"tenant_id": provider.tenant, "version": version.value, "enabled": provider.enabled}
        session.output.result(switched, f"Tenant {provider.tenant} is {word}d for {version.value}.")


_add_switch("disable", "Switches a tenant's row off, and keeps it.")
_add_switch("enable", "Switches a tenant's row on again.")


async def existing_row(session: Session, tenant: str, version: FhirVersion) -> Provider:
    """The row of a tenant in any spelling. Raises Refusal or RowError."""
    provider = await session.tenants.get(tenant, version)
    if provider is None:
        raise _no_row(tenant, version)
    return provider


async def rows_of(session: Session, tenant: str) -> list[tuple[tuple[str, str], Provider | RowError]]:
    """All rows of a tenant in any spelling, with their keys. Raises Refusal when there are none."""
    tenant_id = parse_tenant_id(tenant)
    if tenant_id is None:
        raise InvalidTenantId(tenant)
    rows = [(key, found) async for key, found in session.tenants.list() if parse_tenant_id(key[0]) == tenant_id]
    if not rows:
        raise Refusal(f"there is no row for tenant {tenant_id}")
    return rows


async def _store_secret(session: Session, provider: Provider, value: str) -> None:
    # It needs cryptography, which --help does without.
    from shared.upstream.credentials.stored import refusal

    name = provider.auth.secret or provider.auth.certificate
    if name is None:
        raise Refusal("--secret-value-from needs --auth and the secret's name in --auth-secret")
    if problem := await asyncio.to_thread(refusal, provider.auth, name, value):
        raise Refusal(f"--secret-value-from: the credential {problem}")
    await session.vault.set(name, value)
    await session.audit("tenant.set-secret", _subject(provider.tenant, provider.version), f"secret {name}")


def _secret_value(file: BinaryIO) -> str:
    """The credential in a file."""
    content = file.read(_MAX_FILE_BYTES)
    try:
        return credential(decoded(content))
    except UnicodeDecodeError:
        raise Refusal("--secret-value-from: a credential is text in UTF-8 (a certificate and key: PEM)") from None


def _no_row(tenant: str, version: FhirVersion) -> Refusal:
    return Refusal(f"tenant {tenant} has no row for {version.value}")


def _subject(tenant: str, version: FhirVersion) -> str:
    return f"{parse_tenant_id(tenant)}/{version.value}"


def provider_fields(provider: Provider) -> Fields:
    """A row's fields, as they are printed."""
    auth = provider.auth
    mutual_tls = auth.kind is AuthKind.NONE and auth.certificate is not None
    return {
        "tenant_id": provider.tenant,
        "version": provider.version.value,
        "name": provider.name,
        "base_url": provider.base_url,
        "enabled": provider.enabled,
        "auth": "mtls" if mutual_tls else auth.kind.value,
        "auth_token_url": auth.token_url,
        "auth_client_id": auth.client_id,
        "auth_scope": auth.scope,
        "auth_header": auth.header,
        "auth_secret": auth.certificate if mutual_tls else auth.secret,
        "auth_key_id": auth.key_id,
        "auth_certificate": None if mutual_tls else auth.certificate,
        "extra_headers": frozenset(name for name, _ in provider.extra_headers),
        "batch": provider.batch.value,
        "search": provider.search.value,
        "total": "accurate" if provider.accurate_total else None,
        "page_origins": frozenset(provider.page_origins),
        "access": provider.access.value,
        "types": provider.types,
        "operations": provider.operations,
        "timeout_seconds": provider.timeout_seconds,
        "max_concurrent": provider.max_concurrent,
    }
