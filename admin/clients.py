"""`client ...`: the applications that may ask for tokens, and their secrets."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

import click

from admin.command import YES, confirm, examples, global_options, with_session
from admin.output import Columns, Fields
from admin.session import Session
from shared.directory.errors import Refusal, RowError, UnknownClient, UnknownTenants

if TYPE_CHECKING:
    from shared.directory.client import Client
    from shared.directory.client_keys import ClientKey
    from shared.directory.client_registry import NewSecret

_ID = "4f1c2a0e-93ad-4a53-9b6c-6f0e8a6d2b11"
_DAYS = re.compile(r"([0-9]{1,4})d")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _expiry(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A number of days from now, or the last day, to its end in UTC."""
    if value is None:
        return None
    days = _DAYS.fullmatch(value)
    if days:
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(days[1]))
    if _DATE.fullmatch(value):
        with suppress(ValueError):
            return datetime.fromisoformat(f"{value}T23:59:59+00:00")
    raise click.BadParameter("give a number of days, such as 90d, or a date, such as 2027-01-31")


_EXPIRES = click.option(
    "--expires",
    callback=_expiry,
    metavar="90d|2027-01-31",
    help="When the secret stops working: after so many days, or at the end of a day (UTC). Never, unless given.",
)
_LISTED = Columns(
    ("client_id", "name", "owner", "enabled", "tenants", "secrets", "expiring", "problem"),
    needed=4,
    cut=("name", "owner"),
    notes=("expiring", "problem"),
)
_TENANTS_HELP = "Tenant GUIDs, separated by commas, or * for all (quote it)."
_LABEL = click.option("--label", default="", help="What tells the secret from others, such as where it is used.")
_JWKS_HELP = "A file with the public keys that it signs assertions by: a JWK set, one JWK, or PEM."
_JWKS_URL_HELP = "Where it publishes a JWK set, in place of --jwks."
_ALLOW_UNKNOWN = click.option(
    "--allow-unknown", is_flag=True, help="Also GUIDs that have no row in Tenants yet, where clients come first."
)


class _FileOrNothing(click.File):
    """A file to read, or '' for none."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        return value if value == "" else super().convert(value, parameter, context)


@click.group()
@global_options
def client() -> None:
    """Clients: the applications that may ask for tokens."""


@client.command(
    epilog=examples(
        "client create --name 'Care app' --owner ada@example.com --tenants '*' --expires 90d",
        "client create --name 'Ward app' --owner ada@example.com --tenants 72f988bf-86f1-41af-91ab-2d7cd011db47",
        "client create --name 'Bulk app' --owner ada@example.com --tenants '*' --jwks-url https://app.example.com/jwks",
    )
)
@click.option("--name", required=True, help="What people call it.")
@click.option("--owner", required=True, help="Who answers for it, such as an e-mail address.")
@click.option("--tenants", required=True, metavar="*|GUID,GUID", help=_TENANTS_HELP)
@_ALLOW_UNKNOWN
@_EXPIRES
@_LABEL
@click.option("--jwks", type=click.File("r", encoding="utf-8"), help=_JWKS_HELP)
@click.option("--jwks-url", default="", metavar="URL", help=_JWKS_URL_HELP)
@with_session
async def create(
    session: Session,
    name: str,
    owner: str,
    tenants: str,
    allow_unknown: bool,
    expires: datetime | None,
    label: str,
    jwks: TextIO | None,
    jwks_url: str,
) -> None:
    """Makes a client with its first secret, and prints both. The secret is shown this once.

    With --jwks or --jwks-url it has no secret: it proves itself by an assertion that it signs (private_key_jwt).
    """
    await _refuse_unknown(session, tenants, allow_unknown)
    if jwks is not None or jwks_url:
        text = "" if jwks is None else jwks.read()
        client_id = await session.clients.create_with_keys(name, owner, tenants, jwks=text, jwks_url=jwks_url)
        made = await session.clients.get(client_id)
        await session.audit("client.create", client_id, _changed(["Jwks" if text else "JwksUrl"], (), made.keys))
        session.output.record(_fields(made))
        return
    new = await session.clients.create(name, owner, tenants, expires=expires, label=label)
    await session.audit("client.create", new.client_id, f"secret {new.secret_id}")
    _show_secret(session, new)


@client.command(
    "list", epilog=examples("client list", "client list --owner ada --expiring", "client list --search care --json")
)
@click.option("--owner", default="", help="Only those of this owner, or part of the name.")
@click.option("--search", default="", help="Only those with this in their name or client ID.")
@click.option("--expiring", is_flag=True, help="Only those with a secret that expires within 30 days.")
@with_session
async def list_clients(session: Session, owner: str, search: str, expiring: bool) -> None:
    """Lists clients, by name."""
    from shared.directory.client import EXPIRES_SOON

    soon = datetime.now(UTC) + EXPIRES_SOON
    items: list[Fields] = []
    async for client_id, found in session.clients.list():
        if isinstance(found, RowError):
            fields: Fields = {"client_id": client_id, "problem": str(found)}
        else:
            ends = {secret.id: secret.expires for secret in found.live_secrets if secret.expires is not None}
            ending = (f"{id} on {expires:%Y-%m-%d}" for id, expires in ends.items() if expires < soon)
            fields = {**_fields(found), "expiring": ", ".join(ending) or None}
        named = f"{client_id}\n{fields.get('name', '')}".lower()
        owned = owner.lower() in str(fields.get("owner", "")).lower()
        if search.lower() in named and owned and (fields.get("expiring") or not expiring):
            items.append(fields)
    session.output.records(
        sorted(items, key=lambda item: (str(item.get("name", "")).lower(), item["client_id"])), _LISTED
    )


@client.command(epilog=examples(f"client show {_ID}"))
@click.argument("client_id")
@with_session
async def show(session: Session, client_id: str) -> None:
    """Shows a client, its secrets, and the hour each was last used."""
    found = await session.clients.get(client_id)
    session.output.record(_fields(found, await session.usage.last_used(client_id)))


@client.command(
    "set",
    epilog=examples(f"client set {_ID} --tenants '*'", f"client set {_ID} --jwks-url https://app.example.com/jwks"),
)
@click.argument("client_id")
@click.option("--name", help="What people call it.")
@click.option("--owner", help="Who answers for it.")
@click.option("--tenants", metavar="*|GUID,GUID", help=f"{_TENANTS_HELP} Replaces the list.")
@_ALLOW_UNKNOWN
@click.option("--jwks", type=_FileOrNothing("r", encoding="utf-8"), help=f"{_JWKS_HELP} '' removes it.")
@click.option("--jwks-url", metavar="URL", help=f"{_JWKS_URL_HELP} '' removes it.")
@with_session
async def set_client(
    session: Session,
    client_id: str,
    name: str | None,
    owner: str | None,
    tenants: str | None,
    allow_unknown: bool,
    jwks: TextIO | str | None,
    jwks_url: str | None,
) -> None:
    """Changes a client's name, owner, tenants or keys. Its secrets stay as they are."""
    text = jwks if jwks is None or isinstance(jwks, str) else jwks.read()
    given = {"Name": name, "Owner": owner, "Tenants": tenants, "Jwks": text, "JwksUrl": jwks_url}
    columns = [column for column, value in given.items() if value is not None]
    if not columns:
        raise click.UsageError("give at least one of --name, --owner, --tenants, --jwks and --jwks-url")
    await _refuse_unknown(session, tenants or "", allow_unknown)
    before: Sequence[ClientKey] | None = None
    with suppress(RowError):  # which this may be to mend
        before = (await session.clients.get(client_id)).keys
    await session.clients.change(client_id, name=name, owner=owner, tenants=tenants, jwks=text, jwks_url=jwks_url)
    after = await session.clients.get(client_id)
    await session.audit("client.set", client_id, _changed(columns, before, after.keys))
    session.output.record(_fields(after))


@client.command("add-secret", epilog=examples(f"client add-secret {_ID} --expires 90d --label 'test server'"))
@click.argument("client_id")
@_EXPIRES
@_LABEL
@with_session
async def add_secret(session: Session, client_id: str, expires: datetime | None, label: str) -> None:
    """Adds a secret beside those the client has, and prints it.

    The old ones go on working until they are deleted or expire. A client has at most five.
    """
    new = await session.clients.add_secret(client_id, expires, label)
    await session.audit("client.add-secret", client_id, f"secret {new.secret_id}")
    _show_secret(session, new)


@client.command("delete-secret", epilog=examples(f"client delete-secret {_ID} k3v9x0q2ma --yes"))
@click.argument("client_id")
@click.argument("secret_id")
@YES
@with_session
async def delete_secret(session: Session, client_id: str, secret_id: str, yes: bool) -> None:
    """Ends a secret, and within 60 seconds the access tokens obtained with it."""
    confirm(f"Delete secret {secret_id} of client {client_id}? It and its tokens stop working.", yes=yes)
    if not await session.clients.delete_secret(client_id, secret_id):
        raise Refusal(f"client {client_id!r} has no secret {secret_id!r}")
    await session.audit("client.delete-secret", client_id, f"secret {secret_id}")
    deleted = {"client_id": client_id, "secret_id": secret_id, "deleted": True}
    session.output.result(deleted, f"Secret {secret_id} is deleted.")


def _add_switch(word: str, help: str) -> None:
    """Adds the command `enable` or `disable`."""

    @client.command(word, help=help, epilog=examples(f"client {word} {_ID}"))
    @click.argument("client_id")
    @with_session
    async def switch(session: Session, client_id: str) -> None:
        enabled = word == "enable"
        await session.clients.set_enabled(client_id, enabled)
        await session.audit(f"client.{word}", client_id)
        session.output.result({"client_id": client_id, "enabled": enabled}, f"Client {client_id} is {word}d.")


_add_switch("disable", "Keeps a client out, with the tokens it has, until it is enabled again.")
_add_switch("enable", "Lets a disabled client in again.")


@client.command(epilog=examples(f"client delete {_ID} --yes"))
@click.argument("client_id")
@YES
@with_session
async def delete(session: Session, client_id: str, yes: bool) -> None:
    """Ends a client with all its secrets, for good."""
    confirm(f"Delete client {client_id} and all its secrets, for good?", yes=yes)
    if not await session.clients.delete(client_id):
        raise UnknownClient(client_id)
    await session.audit("client.delete", client_id)
    session.output.result({"client_id": client_id, "deleted": True}, f"Client {client_id} is deleted.")


async def _refuse_unknown(session: Session, tenants: str, allowed: bool) -> None:
    """Raises UnknownTenants for tenants without a row, unless they are allowed, or an error for what is no GUID."""
    from shared.directory.client_registry import ALL_TENANTS, tenants_column

    named = tenants_column(tenants)
    if named and named != ALL_TENANTS and not allowed and (missing := await session.tenants.missing(named.split(","))):
        raise UnknownTenants(missing, "add its row first (tenant set), or give --allow-unknown")


def _changed(columns: Sequence[str], before: "Sequence[ClientKey] | None", after: "Sequence[ClientKey]") -> str:
    """A change's detail: its columns, and the keys that came and went, if it is known which there were `before`."""
    from shared.directory.client_keys import keys_changed

    keys = keys_changed(before, after) if before is not None else ""
    return ", ".join([*columns, *([keys] if keys else [])])


def _show_secret(session: Session, new: "NewSecret") -> None:
    session.output.record(asdict(new))
    if not session.output.as_json:
        click.echo("\nThe secret is not shown again: keep it now.")


def _fields(client: "Client", last_used: Mapping[str, datetime] | None = None) -> Fields:
    used = last_used or {}
    return {
        "client_id": client.id,
        "name": client.name,
        "owner": client.owner,
        "owner_id": client.owner_id or None,
        "tenants": "*" if client.tenants is None else client.tenants,
        "enabled": client.enabled,
        "jwks_url": client.jwks_url or None,
        "keys": tuple(
            {"kid": key.kid, "key_id": key.id, **({} if last_used is None else {"last_used": used.get(key.id)})}
            for key in client.keys
        ),
        "secrets": tuple(
            {
                "secret_id": secret.id,
                "label": secret.label,
                "hint": secret.hint,
                "created": secret.created,
                "expires": secret.expires,
                **({} if last_used is None else {"last_used": used.get(secret.id)}),
            }
            for secret in client.secrets
        ),
    }
