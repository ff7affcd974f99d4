"""The clients as requests read them: the table `Clients` and the hashes in Key Vault, remembered for a while."""

import logging
from datetime import UTC, datetime

from shared.directory.client import (
    CLIENT_ID,
    CLIENT_SECRET,
    SECRET_ID,
    Client,
    parse_client,
    secret_id_of,
    vault_name,
)
from shared.directory.errors import RowError
from shared.error_kind import ErrorKind
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.tables import Table
from shared.stores.vault import Secret, Vault

_SIZE = 5_000
_RENEW_SECONDS = 2.0

_log = logging.getLogger(__name__)


class ClientCache:
    """The directory of clients. A change in a row, or in Key Vault, is seen within `CACHE_SECONDS`."""

    def __init__(self, table: Table, vault: Vault, settings: Settings) -> None:
        self._table = table
        fresh, stale = settings.cache_seconds, settings.stale_seconds
        self._clients: Cache[str, Client] = Cache(self._load, fresh_seconds=fresh, stale_seconds=stale, size=_SIZE)
        self._hashes: Cache[str, Secret] = Cache(vault.get, fresh_seconds=fresh, stale_seconds=stale, size=_SIZE)

    async def get(self, client_id: str) -> Client | None:
        """The client if it is known and enabled. Raises StoreUnavailable."""
        if not CLIENT_ID.fullmatch(client_id):
            return None
        client = await self._clients.get(client_id)
        return client if client is not None and client.enabled else None

    async def refusal(self, client_id: str, client_secret: str) -> ErrorKind | None:
        """Why these credentials did not authenticate; None without such a client. Raises StoreUnavailable."""
        client = await self._clients.get(client_id) if CLIENT_ID.fullmatch(client_id) else None
        if client is None or not client.enabled:
            return None if client is None else ErrorKind.CLIENT_DISABLED
        id = secret_id_of(client_secret)
        secret = next((each for each in client.secrets if each.id == id), None)
        if secret is None:
            return ErrorKind.SECRET_DELETED if CLIENT_SECRET.fullmatch(client_secret) else ErrorKind.SECRET_WRONG
        if not secret.is_live(datetime.now(UTC)):
            return ErrorKind.SECRET_EXPIRED
        stored = await self._hashes.get(vault_name(client_id, id))
        return ErrorKind.SECRET_DISABLED if stored is None else ErrorKind.SECRET_WRONG

    async def secret(self, client_id: str, secret_id: str) -> tuple[Client, Secret] | None:
        """An enabled client together with the stored hash of one of its live secrets; None when there is no such pair.

        Key Vault is asked only about secrets that the client's rows list, so that made-up ids never reach it. An id
        that is not listed makes this instance look again, at most every other second for a client: a secret works as
        soon as it was added. Raises StoreUnavailable.
        """
        if not SECRET_ID.fullmatch(secret_id):
            return None
        client = await self.get(client_id)
        if client is not None and client.live_secret(secret_id) is None:
            client = await self._clients.renew(client_id, older_than=_RENEW_SECONDS)
        secret = client.live_secret(secret_id) if client is not None and client.enabled else None
        if client is None or secret is None:
            return None
        stored = await self._hashes.get(vault_name(client_id, secret_id))
        if stored is None or not secret.authenticates(stored.properties, datetime.now(UTC)):
            return None
        return client, stored

    async def _load(self, client_id: str) -> Client | None:
        try:
            return parse_client(await self._table.partition(client_id))
        except RowError as error:
            _log.error("client refused: %s", error)
            return None
