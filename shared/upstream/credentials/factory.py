"""The credential of each provider."""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from weakref import WeakSet

from cachetools import LRUCache

from shared.directory.provider import AuthKind, Provider
from shared.fhir.versions import FhirVersion
from shared.http_client import HttpClient
from shared.stores.cache import Cache
from shared.upstream.credentials.access_token import BearerCredential
from shared.upstream.credentials.client_certificate import ClientCertificates
from shared.upstream.credentials.client_credentials import (
    ClientAccount,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    RedoxLegacy,
    TokenEndpoint,
)
from shared.upstream.credentials.credential import (
    BasicCredential,
    Credential,
    CredentialError,
    HeaderCredential,
    NoCredential,
    RowSecret,
    Secrets,
)
from shared.upstream.credentials.entra import EntraClientSecret, ManagedIdentity, authority_and_tenant

_MAX_CREDENTIALS = 4096
_Key = tuple[str, FhirVersion, str]

IsCurrent = Callable[[_Key, float], Awaitable[bool]]
"""Whether the row of a provider's `key`, read no longer ago than so many seconds, still leads to that key."""


class Credentials:
    """The credentials of all providers, each kept with its token until its row changes.

    `client` requests tokens; `values` are the vault's secrets by name.
    """

    def __init__(self, client: HttpClient, values: Cache[str, str], is_current: IsCurrent) -> None:
        self._client = client
        self._secrets = Secrets(values)
        self._is_current = is_current
        self._certificates = ClientCertificates(self._secrets)
        self._kept: LRUCache[_Key, Credential] = LRUCache(_MAX_CREDENTIALS)
        self._bearers: WeakSet[BearerCredential] = WeakSet()

    def of(self, provider: Provider) -> Credential:
        """The credential of `provider`; CredentialError names the column that its kind needs and the row lacks."""
        key = provider.key
        credential = self._kept.get(key)
        if credential is None:
            credential = self._kept[key] = self._credential(provider)
        return credential

    async def client_context(self, provider: Provider) -> ssl.SSLContext | None:
        """The TLS context of the provider's requests for mutual TLS; None when its row has no certificate.

        The same object as long as the certificate is the same. Raises CredentialError or StoreUnavailable.
        """
        certificate = provider.auth.certificate
        return None if certificate is None else await self._certificates.context(certificate)

    async def close(self) -> None:
        """Ends the token requests that are under way. The client stays its owner's to close."""
        for bearer in list(self._bearers):
            await bearer.close()

    def _credential(self, provider: Provider) -> Credential:
        auth = provider.auth
        match auth.kind:
            case AuthKind.NONE:
                return NoCredential()
            case AuthKind.BASIC:
                return BasicCredential(self._secret(provider), auth.client_id)
            case AuthKind.HEADER:
                return HeaderCredential(self._secret(provider), _required(auth.header, "AuthHeader"))
            case AuthKind.CLIENT_SECRET_POST:
                issue = ClientSecretPost(self._endpoint(provider), self._account(provider), auth.scope).issue
            case AuthKind.CLIENT_SECRET_BASIC:
                issue = ClientSecretBasic(self._endpoint(provider), self._account(provider), auth.scope).issue
            case AuthKind.PRIVATE_KEY_JWT:
                issue = PrivateKeyJwt(self._endpoint(provider), self._account(provider), auth.scope, auth.key_id).issue
            case AuthKind.REDOX_LEGACY:
                issue = RedoxLegacy(self._endpoint(provider), self._account(provider)).issue
            case AuthKind.ENTRA:
                authority, tenant = authority_and_tenant(auth.token_url, provider.tenant)
                scope = _entra_scope(provider)
                issue = EntraClientSecret(self._account(provider), authority, tenant, scope).issue
            case AuthKind.MANAGED_IDENTITY:
                issue = ManagedIdentity(auth.client_id, _entra_scope(provider)).issue
        secret = auth.secret
        bearer = BearerCredential(issue, lambda: None if secret is None else self._secrets.forget(secret))
        self._bearers.add(bearer)
        return bearer

    def _account(self, provider: Provider) -> ClientAccount:
        return ClientAccount(_required(provider.auth.client_id, "AuthClientId"), self._secret(provider))

    def _secret(self, provider: Provider) -> RowSecret:
        name = _required(provider.auth.secret, "AuthSecret")
        return RowSecret(self._secrets, name, partial(self._is_current, provider.key))

    def _endpoint(self, provider: Provider) -> TokenEndpoint:
        url = _required(provider.auth.token_url, "AuthTokenUrl")
        return TokenEndpoint(self._client, url, lambda: self.client_context(provider))


def _required(value: str | None, column: str) -> str:
    if not value:
        raise CredentialError(f"the row has no {column}, which its kind of authentication needs")
    return value


def _entra_scope(provider: Provider) -> str:
    return provider.auth.scope or f"{provider.base_url}/.default"
