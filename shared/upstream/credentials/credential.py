"""Credentials for a provider: what all kinds have in common, and the kinds that need no access token."""

from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from cachetools import TTLCache

from shared.directory.typed_text import credential
from shared.stores.cache import Cache

_FORGET_SECONDS = 5
_JUST_READ_SECONDS = 1.0


class CredentialError(Exception):
    """The gateway can't authenticate to a provider.

    The message is for the operator. It never holds a secret, a token, a token endpoint's address or its response.
    """


class RowChanged(CredentialError):
    """A provider's row has another address or credential by now."""


class Credential(Protocol):
    """How the gateway authenticates to one provider."""

    async def headers(self) -> Mapping[str, str]:
        """The headers to send with the next request; raises CredentialError or StoreUnavailable.

        Called for every request: what has to be loaded is kept, and refreshed before it expires.
        """

    def reject(self, headers: Mapping[str, str]) -> None:
        """Drops what `headers`, a result of `headers()`, were made of: the provider's response to them was 401.

        Nothing happens when something newer is there already.
        """


class Secrets:
    """The Key Vault secrets that the directory's rows name; a value that is None is missing, disabled or expired.

    Each is forgotten at most once in five seconds: a provider whose response is always 401 must not turn every request
    into a read of the vault.
    """

    def __init__(self, values: Cache[str, str]) -> None:
        self._values = values
        self._forgotten: TTLCache[str, None] = TTLCache(maxsize=4096, ttl=_FORGET_SECONDS)

    async def value(self, name: str, *, anew: bool = False) -> str:
        """The value of the secret `name`; raises CredentialError when there is none, or StoreUnavailable.

        `anew` has the vault asked, unless it does not answer. A byte order mark at the value's start and line ends at
        its end are dropped: they come along with an uploaded file.
        """
        found = await (self._values.renew(name, older_than=0.0) if anew else self._values.get(name))
        value = credential(found or "")
        if not value:
            raise CredentialError(f"Key Vault secret {name} is missing, disabled, expired or empty")
        return value

    def forget(self, name: str) -> None:
        """Makes the next read of `name` go to the vault: the secret may have been rotated."""
        if name not in self._forgotten:
            self._forgotten[name] = None
            self._values.expire(name)


class RowSecret:
    """The secret that a provider's row names.

    Address and secret of a hospital change together: neither may the new secret reach the old address, nor the old one
    the new address. So the first value is read anew, and before each that is another one so is the row: `is_current`
    tells whether that, read no longer ago than so many seconds, has the address and credential that it had.
    """

    def __init__(self, secrets: Secrets, name: str, is_current: Callable[[float], Awaitable[bool]]) -> None:
        self.name = name
        self._secrets = secrets
        self._is_current = is_current
        self._latest: str | None = None

    async def value(self) -> str:
        """The value; raises CredentialError or StoreUnavailable."""
        is_first = self._latest is None
        try:
            value = await self._secrets.value(self.name, anew=is_first)
        except CredentialError:
            self._latest = self._latest or ""  # not every request asks the vault for what is missing
            raise
        if value != self._latest:
            # A row is read together with its first secret; later, either may be the newer one.
            if not await self._is_current(_JUST_READ_SECONDS if is_first else 0.0):
                raise RowChanged("the row has just changed")
            self._latest = value
        return value

    def forget(self) -> None:
        """Makes the next read go to the vault: the secret may have been rotated."""
        self._secrets.forget(self.name)


class NoCredential:
    """An open endpoint (`none`), or one that is content with a client certificate."""

    async def headers(self) -> Mapping[str, str]:
        return {}

    def reject(self, headers: Mapping[str, str]) -> None:
        """There is nothing to drop."""


class _StaticCredential(ABC):
    """A header made of a secret alone."""

    def __init__(self, secret: RowSecret) -> None:
        self._secret = secret
        self._latest: Mapping[str, str] = {}

    async def headers(self) -> Mapping[str, str]:
        self._latest = self._made_of(await self._secret.value())
        return self._latest

    def reject(self, headers: Mapping[str, str]) -> None:
        if headers == self._latest:
            self._secret.forget()

    @abstractmethod
    def _made_of(self, value: str) -> Mapping[str, str]: ...


class BasicCredential(_StaticCredential):
    """HTTP Basic. The secret is the password of `user`, or `user:password` when `user` is None."""

    def __init__(self, secret: RowSecret, user: str | None) -> None:
        super().__init__(secret)
        self._user = user

    def _made_of(self, value: str) -> Mapping[str, str]:
        if self._user is not None:
            return {"Authorization": basic_authorization(self._user, value)}
        user, colon, password = value.partition(":")
        if not colon:
            raise CredentialError(f"Key Vault secret {self._secret.name} must be user:password, or set AuthClientId")
        return {"Authorization": basic_authorization(user, password)}


class HeaderCredential(_StaticCredential):
    """A header with a fixed name, such as Authorization or Ocp-Apim-Subscription-Key, whose value is the secret."""

    def __init__(self, secret: RowSecret, header: str) -> None:
        super().__init__(secret)
        self._header = header

    def _made_of(self, value: str) -> Mapping[str, str]:
        if not (value.isascii() and value.isprintable()):
            raise CredentialError(f"Key Vault secret {self._secret.name} has characters that a header can't carry")
        return {self._header: value}


def basic_authorization(user: str, password: str) -> str:
    """The value of an Authorization header for HTTP Basic, in UTF-8 (RFC 7617, section 2.1)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
