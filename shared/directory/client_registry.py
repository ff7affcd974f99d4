"""The write side of the table `Clients`: clients and their secrets, made, changed and ended."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from shared.directory.client import (
    ALGORITHM_TAG,
    CLIENT_COLUMNS,
    CLIENT_ID,
    CLIENT_ROW,
    REQUEST_ROW_PREFIX,
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
from shared.directory.client_keys import InvalidKeySet, parse_key_set
from shared.directory.errors import InvalidClientValue, RowError, TooManySecrets, UnknownClient
from shared.directory.key_sets import key_set_url_problem
from shared.directory.tenant_registry import canonical_tenant_id
from shared.directory.typed_text import canonical, column_text, parse_tenant_id
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import Row, Table, etag_of
from shared.stores.vault import Vault

MAX_LIVE_SECRETS = 5
MAX_REQUESTS = 20
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


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A client's request for access to a tenant, until an admin decides: who sent it, and when (UTC)."""

    client_id: str
    client_name: str
    tenant: str
    by: str
    at: datetime | None


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
        self, name: str, owner: str, tenants: str | Iterable[str], *, jwks: str = "", jwks_url: str = ""
    ) -> str:
        """Makes a client that proves itself by its own keys, and has no secret; returns its id.

        `jwks` is its JWK set, or `jwks_url` where it publishes one. Raises InvalidClientValue or InvalidTenantId.
        """
        client = _new_client(name, owner, tenants, "") | self._key_columns(jwks, jwks_url)
        await self._table.insert(client)
        return str(client["PartitionKey"])

    async def add_secret(self, client_id: str, expires: datetime | None = None, label: str = "") -> NewSecret:
        """Adds a secret beside those the client has; all of them work.

        A client may have five that have not expired, also when several people add one at once: then StoreConflict is
        raised to all but the first. Raises UnknownClient, TooManySecrets, InvalidClientValue for a time that has passed
        or a label that can't be kept, or RowError when the client's rows can't be understood.
        """
        rows = await self._rows(client_id)
        client = _client(client_id, rows)
        if len(client.live_secrets) >= MAX_LIVE_SECRETS:
            raise TooManySecrets(MAX_LIVE_SECRETS)
        return await self._new_secret(client_id, expires, label, unchanged=_row(rows, CLIENT_ROW))

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

        A key set, or its URL, takes the place of both; "" removes it. Secrets stay as they are.

        Raises UnknownClient, InvalidClientValue, InvalidTenantId, or StoreConflict when the row was changed meanwhile:
        since it had `etag`, if that is given.
        """
        columns: dict[str, str] = {}
        if name is not None:
            columns["Name"] = _text("client's name", name)
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
        if row is None or parse_client([row]) != replace(client, secrets=()):
            return False
        try:
            await self._table.replace({**canonical(row, CLIENT_COLUMNS), "OwnerId": owner_id}, etag_of(row))
        except StoreConflict:
            return False
        return True

    async def get(self, client_id: str) -> Client:
        """A client, enabled or not. Raises UnknownClient, or RowError when its rows can't be understood."""
        return _client(client_id, await self._rows(client_id))

    async def request_access(self, client_id: str, tenant: str, by: str) -> bool:
        """Asks for access to a tenant, which an admin grants or refuses; False when it was asked for before.

        Raises UnknownClient, InvalidTenantId, InvalidClientValue when the client may reach the tenant already or has 20
        requests that wait, StoreConflict when the client was changed meanwhile.
        """
        tenant, rows = canonical_tenant_id(tenant), await self._rows(client_id)
        if _client(client_id, rows).may_reach(tenant):
            raise InvalidClientValue("the client may reach this hospital already")
        waiting = [row["RowKey"] for row in rows if str(row["RowKey"]).startswith(REQUEST_ROW_PREFIX)]
        if (row_key := REQUEST_ROW_PREFIX + tenant) in waiting:
            return False
        if len(waiting) >= MAX_REQUESTS:
            raise InvalidClientValue(f"{MAX_REQUESTS} requests of the client wait for an admin, the most it may have")
        row = {"PartitionKey": client_id, "RowKey": row_key, "By": by, "At": datetime.now(UTC)}
        await self._table.insert_together(row, unchanged=_row(rows, CLIENT_ROW))
        return True

    async def requests(self, client_id: str | None = None) -> Sequence[AccessRequest]:
        """The requests for access that wait for an admin, the oldest first: a client's, or those of all clients."""
        ends = {"first": REQUEST_ROW_PREFIX, "last": f"{REQUEST_ROW_PREFIX}g"}
        condition, columns = "RowKey ge @first and RowKey lt @last", ["PartitionKey", "RowKey", "By", "At"]
        if client_id is not None:
            condition, ends = f"PartitionKey eq @client and {condition}", {**ends, "client": client_id}
        rows = [row async for row in self._table.where(condition, ends, columns)]
        clients = {id: await self._table.get(id, CLIENT_ROW) for id in {str(row["PartitionKey"]) for row in rows}}
        found = [
            AccessRequest(client_id, column_text(client.get("Name")), tenant, column_text(row.get("By")), _at(row))
            for row in rows
            if (client := clients[client_id := str(row["PartitionKey"])]) is not None
            and (tenant := parse_tenant_id(str(row["RowKey"]).removeprefix(REQUEST_ROW_PREFIX))) is not None
        ]
        return sorted(found, key=lambda request: (request.at or datetime.min.replace(tzinfo=UTC), request.tenant))

    async def grant(self, client_id: str, tenant: str) -> bool:
        """Lets a client reach a tenant it asked for; False when there is no such request (any more).

        Raises UnknownClient, InvalidClientValue for too many tenants, RowError, or StoreConflict when either was
        changed meanwhile: a request is granted or refused, never both.
        """
        return await self._reach(client_id, tenant, allowed=True, asked=True)

    async def set_reach(self, client_id: str, tenant: str, *, allowed: bool) -> bool:
        """Lets a client reach a tenant, with its request for it, or no longer; False when it was so already.

        Raises as `grant`, and InvalidClientValue for a client that may reach all.
        """
        return await self._reach(client_id, tenant, allowed=allowed, asked=False)

    async def refuse(self, client_id: str, tenant: str) -> bool:
        """Takes a request for access away; False when there is no such request (any more). Raises as `grant` does."""
        row = _row(await self._rows(client_id), REQUEST_ROW_PREFIX + canonical_tenant_id(tenant))
        if row is not None:
            await self._table.delete_read(row)
        return row is not None

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

    async def _reach(self, client_id: str, tenant: str, *, allowed: bool, asked: bool) -> bool:
        tenant, rows = canonical_tenant_id(tenant), await self._rows(client_id)
        client, request = _client(client_id, rows), _row(rows, REQUEST_ROW_PREFIX + tenant)
        if request is None and (asked or client.may_reach(tenant) is allowed):
            return False
        if client.tenants is None and not allowed:
            raise InvalidClientValue("the client may reach all hospitals: choose the ones it may reach first")
        row, reached = _row(rows, CLIENT_ROW) or {}, client.tenants or frozenset()
        reached = reached | {tenant} if allowed else reached - {tenant}
        column = ALL_TENANTS if client.tenants is None else tenants_column(sorted(reached))
        changed = {**canonical(row, CLIENT_COLUMNS), "Tenants": column}
        if request is not None and allowed:
            await self._table.delete_read(request, replacing=changed, etag=etag_of(row))
        else:
            await self._table.replace(changed, etag_of(row))
        return True

    async def _rows(self, client_id: str) -> Sequence[Row]:
        return await self._table.partition(client_id) if CLIENT_ID.fullmatch(client_id) else []

    async def _new_secret(
        self, client_id: str, expires: datetime | None, label: str, *beside: Row, unchanged: Row | None = None
    ) -> NewSecret:
        """Makes a secret, together with the rows `beside` it, unless the row `unchanged` was written to meanwhile.

        Its hash goes first, so that the secret works once there is a row, and is taken back when there will be none.
        """
        now = datetime.now(UTC)
        if expires is not None and expires <= now:
            raise InvalidClientValue("the secret would have expired already: give a time to come")
        label = _text("secret's label", label) if label.strip() else ""
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
                parse_key_set(jwks)
        except InvalidKeySet as error:
            raise InvalidClientValue(f"the key set {error}") from None
        columns = {"Jwks": jwks.strip(), "JwksUrl": jwks_url.strip()}
        return {column: value for column, value in columns.items() if value}

    async def _write(self, client_id: str, columns: Mapping[str, object], etag: str | None = None) -> None:
        row = await self._table.get(client_id, CLIENT_ROW) if CLIENT_ID.fullmatch(client_id) else None
        if row is None:
            raise UnknownClient(client_id)
        await self._table.replace({**canonical(row, CLIENT_COLUMNS), **columns}, etag or etag_of(row))


def _client(client_id: str, rows: Iterable[Row]) -> Client:
    client = parse_client(rows)
    if client is None:
        raise UnknownClient(client_id)
    return client


def _row(rows: Iterable[Row], row_key: str) -> Row | None:
    return next((row for row in rows if row["RowKey"] == row_key), None)


def _at(row: Row) -> datetime | None:
    return at if isinstance(at := row.get("At"), datetime) else None


def _new_client(name: str, owner: str, tenants: str | Iterable[str], owner_id: str) -> dict[str, object]:
    columns = {
        "Name": _text("client's name", name),
        "Owner": _text("client's owner", owner),
        "Tenants": tenants_column(tenants),
    }
    columns |= {"OwnerId": owner_id} if owner_id else {}
    return {"PartitionKey": str(uuid4()), "RowKey": CLIENT_ROW, **columns, "Enabled": True}


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
