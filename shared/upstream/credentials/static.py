"""Headers made of a secret alone: HTTP Basic (RFC 7617) and a fixed header."""

from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping

from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.secrets import Secrets


def basic_authorization(user: str, password: str) -> str:
    """The value of an Authorization header for HTTP Basic, in UTF-8 (RFC 7617, section 2.1)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class _StaticCredential(ABC):
    def __init__(self, secrets: Secrets, secret: str) -> None:
        self._secrets = secrets
        self._secret = secret
        self._latest: Mapping[str, str] = {}

    async def headers(self) -> Mapping[str, str]:
        self._latest = self._made_of(await self._secrets.value(self._secret))
        return self._latest

    def reject(self, headers: Mapping[str, str]) -> None:
        if headers == self._latest:
            self._secrets.forget(self._secret)

    @abstractmethod
    def _made_of(self, value: str) -> Mapping[str, str]: ...


class BasicCredential(_StaticCredential):
    """HTTP Basic. The secret is the password of `user`, or `user:password` when `user` is None."""

    def __init__(self, secrets: Secrets, secret: str, user: str | None) -> None:
        super().__init__(secrets, secret)
        self._user = user

    def _made_of(self, value: str) -> Mapping[str, str]:
        if self._user is not None:
            return {"Authorization": basic_authorization(self._user, value)}
        user, colon, password = value.partition(":")
        if not colon:
            raise CredentialError(f"Key Vault secret {self._secret} must be user:password, or set AuthClientId")
        return {"Authorization": basic_authorization(user, password)}


class HeaderCredential(_StaticCredential):
    """A header with a fixed name, such as Authorization or Ocp-Apim-Subscription-Key, whose value is the secret."""

    def __init__(self, secrets: Secrets, secret: str, header: str) -> None:
        super().__init__(secrets, secret)
        self._header = header

    def _made_of(self, value: str) -> Mapping[str, str]:
        if not (value.isascii() and value.isprintable()):
            raise CredentialError(f"Key Vault secret {self._secret} has characters that a header can't carry")
        return {self._header: value}
