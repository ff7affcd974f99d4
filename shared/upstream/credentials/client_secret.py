"""OAuth client credentials with a client secret (RFC 6749, sections 2.3.1 and 4.4)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from urllib.parse import quote_plus

from shared.upstream.credentials.client_account import ClientAccount
from shared.upstream.credentials.static import basic_authorization
from shared.upstream.credentials.token import IssuedToken, parse_token
from shared.upstream.credentials.token_endpoint import TokenEndpoint


def client_credentials_form(scope: str | None) -> dict[str, str]:
    """The parameters that every client credentials request has; `scope` only when the row asks for one."""
    form = {"grant_type": "client_credentials"}
    return form if scope is None else {**form, "scope": scope}


class _ClientSecret(ABC):
    def __init__(self, endpoint: TokenEndpoint, client: ClientAccount, scope: str | None) -> None:
        self._endpoint = endpoint
        self._client = client
        self._scope = scope

    async def issue(self) -> IssuedToken:
        """A token for the client; raises CredentialError or StoreUnavailable."""
        secret = await self._client.secret()
        return parse_token(await self._ask(client_credentials_form(self._scope), secret))

    @abstractmethod
    async def _ask(self, form: dict[str, str], secret: str) -> Mapping[str, object]: ...


class ClientSecretPost(_ClientSecret):
    """Client ID and secret in the body (`client_secret_post`)."""

    async def _ask(self, form: dict[str, str], secret: str) -> Mapping[str, object]:
        return await self._endpoint.post(form={**form, "client_id": self._client.id, "client_secret": secret})


class ClientSecretBasic(_ClientSecret):
    """Client ID and secret by HTTP Basic, each form-encoded first as section 2.3.1 has it (`client_secret_basic`)."""

    async def _ask(self, form: dict[str, str], secret: str) -> Mapping[str, object]:
        authorization = basic_authorization(quote_plus(self._client.id), quote_plus(secret))
        return await self._endpoint.post(form=form, authorization=authorization)
