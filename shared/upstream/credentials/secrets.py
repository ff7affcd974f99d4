"""The Key Vault secrets that the rows of the directory name."""

from collections.abc import Awaitable, Callable

from cachetools import TTLCache

from shared.directory.text_file import credential
from shared.upstream.credentials.errors import CredentialError

ReadSecret = Callable[[str], Awaitable[str | None]]
"""A secret's value by its name, through a cache; None when it is missing, disabled or expired."""

ForgetSecret = Callable[[str], None]
"""Makes the next read of a secret go to the vault."""

_FORGET_SECONDS = 5


class Secrets:
    """Reads secrets, and forgets each at most once in five seconds.

    A provider that answers 401 to everything would otherwise turn every request into a read of the vault.
    """

    def __init__(self, read: ReadSecret, forget: ForgetSecret) -> None:
        self._read = read
        self._forget = forget
        self._forgotten: TTLCache[str, None] = TTLCache(maxsize=4096, ttl=_FORGET_SECONDS)

    async def value(self, name: str) -> str:
        """The value of the secret `name`; raises CredentialError when there is none, or StoreUnavailable.

        A mark at its start and line ends at its end are dropped: they come along when a file is put into the vault.
        """
        value = credential(await self._read(name) or "")
        if not value:
            raise CredentialError(f"Key Vault secret {name} is missing, disabled, expired or empty")
        return value

    def forget(self, name: str) -> None:
        """Makes the next read of `name` go to the vault: the secret may have been rotated."""
        if name in self._forgotten:
            return
        self._forgotten[name] = None
        self._forget(name)
