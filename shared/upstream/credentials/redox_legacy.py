"""Redox's legacy API key: JSON `{"apiKey", "secret"}` answered by `{"accessToken", "expires"}`."""

from datetime import UTC, datetime

from shared.upstream.credentials.client_account import ClientAccount
from shared.upstream.credentials.token import DEFAULT_LIFETIME, IssuedToken, token_value
from shared.upstream.credentials.token_endpoint import TokenEndpoint


class RedoxLegacy:
    """The API key is the row's client ID, and the token URL ends in `/auth/authenticate`."""

    def __init__(self, endpoint: TokenEndpoint, client: ClientAccount) -> None:
        self._endpoint = endpoint
        self._client = client

    async def issue(self) -> IssuedToken:
        """A token for the API key; raises CredentialError or StoreUnavailable."""
        secret = await self._client.secret()
        answer = await self._endpoint.post(json={"apiKey": self._client.id, "secret": secret})
        return IssuedToken(token_value(answer.get("accessToken")), lifetime(answer.get("expires"), datetime.now(UTC)))


def lifetime(expires: object, now: datetime) -> float:
    """Seconds from `now` until the ISO 8601 time `expires`, which is UTC unless it says otherwise."""
    try:
        at = datetime.fromisoformat(expires) if isinstance(expires, str) else None
    except ValueError:
        at = None
    if at is None:
        return DEFAULT_LIFETIME
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
