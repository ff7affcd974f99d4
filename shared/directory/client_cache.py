"""The clients as requests read them: the table `Clients` and the hashes in Key Vault, remembered for a while."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.directory.client import (
    CLIENT_ID,
    CLIENT_SECRET,
    SECRET_ID,
    Client,
    parse_client,
    secret_id_of,
    vault_name,
)
from shared.directory.client_keys import KEY_ID, ClientKey
from shared.directory.errors import RowError
from shared.error_kind import ErrorKind
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.tables import Table
from shared.stores.vault import Secret, Vault

if TYPE_CHECKING:
    from shared.directory.key_sets import KeySets

_SIZE = 5_000
_RENEW_SECONDS = 2.0
_RENEW_KEYS_SECONDS = 60.0

_log = logging.getLogger(__name__)


class ClientCache:
    """The directory of clients. A change in a row, or in Key Vault, is seen within `CACHE_SECONDS`.

    `key_sets` makes what fetches keys from clients' own URLs, which few clients need and a start has no time for.
    """

    def __init__(self, table: Table, vault: Vault, key_sets: "Callable[[], KeySets]", settings: Settings) -> None:
        self._table = table
        self._key_sets = key_sets
        fresh, stale = settings.cache_seconds, settings.stale_seconds
        self._clients: Cache[str, Client] = Cache(self._load, fresh_seconds=fresh, stale_seconds=stale, size=_SIZE)
        self._hashes: Cache[str, Secret] = Cache(vault.get, fresh_seconds=fresh, stale_seconds=stale, size=_SIZE)

    async def get(self, client_id: str) -> Client | None:
        """The client if it is known and enabled. Raises StoreUnavailable."""
        client = await self._clients.get(client_id) if CLIENT_ID.fullmatch(client_id) else None
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
        if not CLIENT_ID.fullmatch(client_id) or not SECRET_ID.fullmatch(secret_id):
            return None
        return await self._secret(client_id, secret_id)

    async def _secret(self, client_id: str, secret_id: str) -> tuple[Client, Secret] | None:
        client = await self._clients.get(client_id)
        if client is None or not client.enabled:
            return None
        secret = client.live_secret(secret_id)
        if secret is None:
            client = await self._clients.renew(client_id, older_than=_RENEW_SECONDS)
            secret = client.live_secret(secret_id) if client is not None and client.enabled else None
        if client is None or secret is None:
            return None
        stored = await self._hashes.get(vault_name(client_id, secret_id))
        if stored is None or not secret.authenticates(stored.properties, datetime.now(UTC)):
            return None
        return client, stored

    async def key(self, client_id: str, kid: str) -> tuple[Client, ClientKey] | None:
        """An enabled client together with its key of this `kid`; None when there is no such pair.

        One that is not there makes this instance look again, as for a secret; at a client's own URL at most every
        minute. Raises StoreUnavailable, or KeySetUnavailable for such a URL.
        """
        return await self._key(client_id, lambda key: key.kid == kid, _RENEW_KEYS_SECONDS)

    async def holder(self, client_id: str, credential_id: str, issued_at: float) -> Client | None:
        """An enabled client that still has the secret or key by which it got a token at that time; None if not.

        The ids are those of a token, so they were checked when that was issued. A key set that was fetched before that
        says nothing of such a key. Raises StoreUnavailable.
        """
        if not KEY_ID.fullmatch(credential_id):
            with_secret = await self._secret(client_id, credential_id)
            return with_secret[0] if with_secret is not None else None
        since = max(time.time() - issued_at, _RENEW_SECONDS)
        with_key = await self._key(client_id, lambda key: key.id == credential_id, since)
        return with_key[0] if with_key is not None else None

    async def _key(
        self, client_id: str, wanted: Callable[[ClientKey], bool], older_than: float
    ) -> tuple[Client, ClientKey] | None:
        client = await self.get(client_id)
        key = await self._key_of(client, wanted, None)
        if client is not None and key is None:
            client = await self._clients.renew(client_id, older_than=_RENEW_SECONDS)
            key = await self._key_of(client, wanted, older_than)
        return (client, key) if client is not None and key is not None else None

    async def _key_of(
        self, client: Client | None, wanted: Callable[[ClientKey], bool], older_than: float | None
    ) -> ClientKey | None:
        if client is None or not client.enabled:
            return None
        keys = client.keys
        if client.jwks_url:
            keys = await self._key_sets().get(client.jwks_url, older_than=older_than)
        return next(filter(wanted, keys), None)

    async def known(self, client_id: str) -> bool:
        """Whether there is such a client, enabled or not. Raises StoreUnavailable."""
        return CLIENT_ID.fullmatch(client_id) is not None and await self._clients.get(client_id) is not None

    async def _load(self, client_id: str) -> Client | None:
        try:
            return parse_client(await self._table.partition(client_id))
        except RowError as error:
            _log.error("client refused: %s", error)
            return None
