"""The write side of the table `Clients`: clients and their secrets, made, changed and ended."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from msgspec import structs

from shared.directory.client import (
    ALGORITHM_TAG,
    CLIENT_COLUMNS,
    CLIENT_ID,
    CLIENT_ROW,
    SECRET_ID,
    SECRET_ROW_PREFIX,
    Client,
    hash_of,
    hint_of,
    new_client_secret,
    parse_client,
    secret_id_of,
    vault_name,
)
from shared.directory.client_keys import InvalidKeySet, key_set_text, parse_key_set
from shared.directory.errors import InvalidClientValue, RowError, TooManySecrets, UnknownClient
from shared.directory.key_sets import key_set_url_problem
from shared.directory.tenant_registry import canonical_tenant_id
from shared.directory.typed_text import canonical
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import Row, Table, etag_of
from shared.stores.vault import Vault

MAX_LIVE_SECRETS = 5
ALL_TENANTS = "*"
_MAX_TENANTS = 800  # a column holds 32 Ki characters
_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret as its owner sees it, this once: only its hash is kept. `expires` is UTC."""

    client_id: str
    secret_id: str
    client_secret: str = field(repr=False)
    expires: datetime | None


class ClientRegistry:
    """Clients as people keep them. Every method may raise StoreUnavailable; a Refusal means nothing was written."""

    def __init__(self, table: Table, vault: Vault, *, local: bool = False) -> None:
        """`local` (a laptop) also allows URLs of key sets on loopback."""
        self._table = table
        self._vault = vault
        self._local = local

    async def create(
        self,
        name: str,
        owner: str,
        tenants: str | Iterable[str],
        *,
        owner_id: str = "",
        expires: datetime | None = None,
        label: str = "",
    ) -> NewSecret:
        """Makes a client with a first secret, which works as soon as this returns.

        `tenants` is `*` for all, or GUIDs (also as a comma list) in any spelling. A failure leaves nothing behind; if
        not even that can be seen to, then a hash that no row leads to. Raises InvalidClient or InvalidTenantId.
        """
        client = _new_client(name, owner, tenants, owner_id)
        return await self._new_secret(str(client["PartitionKey"]), expires, label, client)

    async def create_with_keys(
        self,
        name: str,
        owner: str,
        tenants: str | Iterable[str],
        *,
        owner_id: str = "",
        jwks: str = "",
        jwks_url: str = "",
    ) -> str:
        """Makes a client that proves itself by its own keys, and has no secret; returns its id.

        `jwks` are its public keys as `key_set_text` takes them, or `jwks_url` is where it publishes a JWK set. Raises
        InvalidClientValue or InvalidTenantId.
        """
        client, keys = _new_client(name, owner, tenants, owner_id), self._key_columns(jwks, jwks_url)
        if not keys:
            raise InvalidClientValue("a client without a secret needs its public keys, or the URL of its key set")
        await self._table.insert(client | keys)
        return str(client["PartitionKey"])

    async def add_secret(self, client_id: str, expires: datetime | None = None, label: str = "") -> NewSecret:
        """Adds a secret beside those the client has; all of them work.

        A client may have five that have not expired, also when several people add one at once: then StoreConflict is
        raised to all but the first. Raises UnknownClient, TooManySecrets, InvalidClientValue for a time that has passed
        or a label that can't be kept, or RowError when the client's rows can't be understood.
        """
        client, rows = await read_client(self._table, client_id)
        if len(client.live_secrets) >= MAX_LIVE_SECRETS:
            raise TooManySecrets(MAX_LIVE_SECRETS)
        return await self._new_secret(client_id, expires, label, unchanged=rows[CLIENT_ROW])

    async def delete_secret(self, client_id: str, secret_id: str) -> bool:
        """Ends a secret, and within `CACHE_SECONDS` the tokens obtained with it; False when there was nothing to end.

        Its hash goes first, then its row: when only the first was done, doing it again finishes.
        """
        if not CLIENT_ID.fullmatch(client_id) or not SECRET_ID.fullmatch(secret_id):
            return False
        row = await self._table.get(client_id, SECRET_ROW_PREFIX + secret_id)
        ended = await self._vault.delete(vault_name(client_id, secret_id))
        if row is not None:
            await self._table.delete(client_id, SECRET_ROW_PREFIX + secret_id)
        return ended or row is not None

    async def delete(self, client_id: str) -> bool:
        """Ends a client with all its secrets, the client itself last; False when there was nothing to end."""
        if not CLIENT_ID.fullmatch(client_id):
            return False
        row_keys = sorted((str(row["RowKey"]) for row in await self._table.partition(client_id)), reverse=True)
        for row_key in row_keys:
            if row_key.startswith(SECRET_ROW_PREFIX):
                await self.delete_secret(client_id, row_key.removeprefix(SECRET_ROW_PREFIX))
            await self._table.delete(client_id, row_key)
        return bool(row_keys)

    async def set_enabled(self, client_id: str, enabled: bool) -> None:
        """Lets a client in or keeps it out, with the tokens it has. Raises UnknownClient or StoreConflict."""
        await self._write(client_id, {"Enabled": enabled})

    async def change(
        self,
        client_id: str,
        *,
        name: str | None = None,
        owner: str | None = None,
        tenants: str | Iterable[str] | None = None,
        jwks: str | None = None,
        jwks_url: str | None = None,
        etag: str | None = None,
    ) -> None:
        """Changes what is given and leaves the rest; whoever owned the client before a new `owner` is let go.

        Keys, as `key_set_text` takes them, or a key set's URL take the place of both; "" removes them. Secrets stay as
        they are.

        Raises UnknownClient, InvalidClientValue, InvalidTenantId, or StoreConflict when the row was changed meanwhile:
        since it had `etag`, if that is given.
        """
        columns: dict[str, str] = {}
        if name is not None:
            columns["Name"] = client_name(name)
        if owner is not None:
            columns |= {"Owner": _text("client's owner", owner), "OwnerId": ""}
        if tenants is not None:
            columns["Tenants"] = tenants_column(tenants)
        if jwks is not None or jwks_url is not None:
            columns |= {"Jwks": "", "JwksUrl": ""} | self._key_columns(jwks or "", jwks_url or "")
        await self._write(client_id, columns, etag)

    async def claim(self, client: Client, owner_id: str) -> bool:
        """Has the row know its owner by `owner_id` alone from now on; False where it was changed meanwhile."""
        row = await self._table.get(client.id, CLIENT_ROW)
        if row is None or parse_client([row]) != structs.replace(client, secrets=()):
            return False
        try:
            await self._table.replace({**canonical(row, CLIENT_COLUMNS), "OwnerId": owner_id}, etag_of(row))
        except StoreConflict:
            return False
        return True

    async def get(self, client_id: str) -> Client:
        """A client, enabled or not. Raises UnknownClient, or RowError when its rows can't be understood."""
        return (await read_client(self._table, client_id))[0]

    async def list(self) -> AsyncIterator[tuple[str, Client | RowError]]:
        """Every client by its id, or why its rows can't be understood."""
        partitions: defaultdict[str, tuple[Row, ...]] = defaultdict(tuple)
        async for row in self._table.scan():
            partitions[str(row["PartitionKey"])] += (row,)
        for client_id, rows in partitions.items():
            try:
                client = parse_client(rows)
            except RowError as error:
                yield client_id, error
                continue
            if client is not None:
                yield client_id, client

    async def _new_secret(
        self, client_id: str, expires: datetime | None, label: str, *beside: Row, unchanged: Row | None = None
    ) -> NewSecret:
        """Makes a secret, together with the rows `beside` it, unless the row `unchanged` was written to meanwhile.

        Its hash goes first, so that the secret works once there is a row, and is taken back when there will be none.
        """
        now = datetime.now(UTC)
        if expires is not None and expires <= now:
            raise InvalidClientValue("the secret would have expired already: give a time to come")
        label = secret_label(label)
        client_secret = new_client_secret()
        secret_id = secret_id_of(client_secret)
        name = vault_name(client_id, secret_id)
        columns = {"Created": now, "Expires": expires, "Hint": hint_of(client_secret), "Label": label}
        row = {"PartitionKey": client_id, "RowKey": SECRET_ROW_PREFIX + secret_id}
        rows = [*beside, row | {column: value for column, value in columns.items() if value}]
        try:
            await self._vault.set(name, hash_of(client_secret), expires=expires, tags=ALGORITHM_TAG)
            await self._table.insert_together(*rows, unchanged=unchanged)
        except BaseException:
            # Also when it was interrupted, or a response got lost and the rows are there.
            with suppress(StoreUnavailable, StoreConflict):
                await self._vault.delete(name)
                for made in rows:
                    await self._table.delete(client_id, str(made["RowKey"]))
            raise
        return NewSecret(client_id, secret_id, client_secret, expires)

    def _key_columns(self, jwks: str, jwks_url: str) -> dict[str, str]:
        if jwks and jwks_url:
            raise InvalidClientValue("a client has a key set or the URL of one, not both")
        if jwks_url and (problem := key_set_url_problem(jwks_url.strip(), local=self._local)):
            raise InvalidClientValue(f"the key set's URL {problem}")
        try:
            if jwks:
                parse_key_set(jwks := key_set_text(jwks))
        except InvalidKeySet as error:
            raise InvalidClientValue(f"the key set {error}") from None
        columns = {"Jwks": jwks, "JwksUrl": jwks_url.strip()}
        return {column: value for column, value in columns.items() if value}

    async def _write(self, client_id: str, columns: Mapping[str, object], etag: str | None = None) -> None:
        row = await self._table.get(client_id, CLIENT_ROW) if CLIENT_ID.fullmatch(client_id) else None
        if row is None:
            raise UnknownClient(client_id)
        await self._table.replace({**canonical(row, CLIENT_COLUMNS), **columns}, etag or etag_of(row))


async def read_client(table: Table, client_id: str) -> tuple[Client, Mapping[str, Row]]:
    """A client, enabled or not, and all rows of its partition by their keys. Raises as `ClientRegistry.get`."""
    rows = await table.partition(client_id) if CLIENT_ID.fullmatch(client_id) else []
    client = parse_client(rows)
    if client is None:
        raise UnknownClient(client_id)
    return client, {str(row["RowKey"]): row for row in rows}


def _new_client(name: str, owner: str, tenants: str | Iterable[str], owner_id: str) -> dict[str, object]:
    columns = {
        "Name": client_name(name),
        "Owner": _text("client's owner", owner),
        "Tenants": tenants_column(tenants),
    }
    columns |= {"OwnerId": owner_id} if owner_id else {}
    return {"PartitionKey": str(uuid4()), "RowKey": CLIENT_ROW, **columns, "Enabled": True}


def client_name(typed: str) -> str:
    """A client's name as it is kept. Raises InvalidClientValue."""
    return _text("client's name", typed)


def secret_label(typed: str) -> str:
    """A secret's label as it is kept, "" for none. Raises InvalidClientValue."""
    return _text("secret's label", typed) if typed.strip() else ""


def _text(what: str, value: str) -> str:
    text = value.strip()
    if not text or len(text) > _MAX_CHARACTERS or not text.isprintable():
        raise InvalidClientValue(f"a {what} is 1 to {_MAX_CHARACTERS} printable characters")
    return text


def tenants_column(tenants: str | Iterable[str]) -> str:
    """The column `Tenants`: `*`, or canonical GUIDs and commas; none for a client that may reach no tenant yet.

    Raises InvalidTenantId, or InvalidClientValue for more than the column holds.
    """
    items = tenants.split(",") if isinstance(tenants, str) else tenants
    names = [name for item in items if (name := item.strip())]
    if names == [ALL_TENANTS]:
        return ALL_TENANTS
    if len(names) > _MAX_TENANTS:
        raise InvalidClientValue(f"a client can name {_MAX_TENANTS} tenants, or * for all")
    return ",".join(dict.fromkeys(map(canonical_tenant_id, names)))
