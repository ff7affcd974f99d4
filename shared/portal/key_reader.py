"""A client's public keys as a person looks at them: what they are, since when, and when each was last used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.directory.activity import ActivityLog
from shared.directory.client import Client
from shared.directory.client_keys import ClientKey
from shared.directory.key_sets import KeySets
from shared.directory.traffic import client_subject
from shared.directory.usage import Usage

_MAX_CHANGES = 100


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key, the time since which it is registered, if that is known, and the hour of its last use (UTC)."""

    key: ClientKey
    since: datetime | None
    used: datetime | None


@dataclass(frozen=True, slots=True)
class ShownKeys:
    """A client's keys. Of a key set at its URL also when it was fetched, and what is wrong with it ("" for nothing)."""

    keys: Sequence[ShownKey]
    fetched: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KeyReader:
    """Reads keys from the client's row, or from its URL as the gateway does."""

    _usage: Usage
    _activity: ActivityLog
    _key_sets: KeySets

    async def read(self, client: Client, used: Mapping[str, datetime] | None = None) -> ShownKeys:
        """The keys of a client, with when its credentials were `used`. Raises StoreUnavailable."""
        if not client.has_keys:
            return ShownKeys(())
        used = await self._usage.last_used(client.id) if used is None else used
        if client.jwks_url:
            found = await self._key_sets.look(client.jwks_url)
            keys = [ShownKey(key, None, used.get(key.id)) for key in found.keys]
            return ShownKeys(keys, found.at, found.problem)
        changes = await self._activity.latest(client_subject(client.id), _MAX_CHANGES)
        # The latest change stands first: a key may have come, gone and come again.
        since = {
            key.id: next((each.at for each in changes if f"key {key.id} added" in each.detail), None)
            for key in client.keys
        }
        return ShownKeys([ShownKey(key, since[key.id], used.get(key.id)) for key in client.keys])
