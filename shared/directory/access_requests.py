"""Requests for access in the table `Clients`: a client asks for a tenant, an admin grants or refuses it.

A request is a row of the client's partition, RowKey = `request-<tenant>`, until it is decided (`By`, `At`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.directory.client import CLIENT_COLUMNS, CLIENT_ID, CLIENT_ROW, REQUEST_ROW_PREFIX
from shared.directory.client_registry import ALL_TENANTS, read_client, tenants_column
from shared.directory.errors import InvalidClientValue
from shared.directory.tenant_registry import canonical_tenant_id
from shared.directory.typed_text import canonical, column_text, parse_tenant_id
from shared.stores.tables import Row, Table, etag_of

MAX_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A client's request for access to a tenant, until an admin decides: who sent it, and when (UTC)."""

    client_id: str
    client_name: str
    tenant: str
    by: str
    at: datetime | None


class AccessRequests:
    """What clients may reach, tenant by tenant, and what they ask for. Every method may raise StoreUnavailable; a
    Refusal means nothing was written.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    async def ask(self, client_id: str, tenant: str, by: str) -> bool:
        """Asks for access to a tenant, which an admin grants or refuses; False when it was asked for before.

        Raises UnknownClient, InvalidTenantId, InvalidClientValue when the client may reach the tenant already or has 20
        requests that wait, StoreConflict when the client was changed meanwhile.
        """
        tenant, (client, rows) = canonical_tenant_id(tenant), await read_client(self._table, client_id)
        if client.may_reach(tenant):
            raise InvalidClientValue("the client may reach this hospital already")
        if (row_key := REQUEST_ROW_PREFIX + tenant) in rows:
            return False
        if sum(each.startswith(REQUEST_ROW_PREFIX) for each in rows) >= MAX_REQUESTS:
            raise InvalidClientValue(f"{MAX_REQUESTS} requests of the client wait for an admin, the most it may have")
        row = {"PartitionKey": client_id, "RowKey": row_key, "By": by, "At": datetime.now(UTC)}
        await self._table.insert_together(row, unchanged=rows[CLIENT_ROW])
        return True

    async def waiting(self, client_id: str | None = None) -> Sequence[AccessRequest]:
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
        row_key = REQUEST_ROW_PREFIX + canonical_tenant_id(tenant)
        row = await self._table.get(client_id, row_key) if CLIENT_ID.fullmatch(client_id) else None
        if row is not None:
            await self._table.delete_read(row)
        return row is not None

    async def _reach(self, client_id: str, tenant: str, *, allowed: bool, asked: bool) -> bool:
        tenant, (client, rows) = canonical_tenant_id(tenant), await read_client(self._table, client_id)
        request = rows.get(REQUEST_ROW_PREFIX + tenant)
        if request is None and (asked or client.may_reach(tenant) is allowed):
            return False
        if client.tenants is None and not allowed:
            raise InvalidClientValue("the client may reach all hospitals: choose the ones it may reach first")
        row, reached = rows[CLIENT_ROW], client.tenants or frozenset()
        reached = reached | {tenant} if allowed else reached - {tenant}
        column = ALL_TENANTS if client.tenants is None else tenants_column(sorted(reached))
        changed = {**canonical(row, CLIENT_COLUMNS), "Tenants": column}
        if request is not None and allowed:
            await self._table.delete_read(request, replacing=changed, etag=etag_of(row))
        else:
            await self._table.replace(changed, etag_of(row))
        return True


def _at(row: Row) -> datetime | None:
    return at if isinstance(at := row.get("At"), datetime) else None
