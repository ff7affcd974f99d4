"""The credential of every kind that gets an access token first (RFC 6750, section 2.1)."""

from collections.abc import Callable, Mapping

from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.token import IssuedToken
from shared.upstream.credentials.token_source import Issue, TokenSource


class BearerCredential:
    """Sends the token that `issue` gets; `forget_secret` drops the cached secret that `issue` shows for it."""

    def __init__(self, issue: Issue, forget_secret: Callable[[], None]) -> None:
        self._issue = issue
        self._forget_secret = forget_secret
        self._source = TokenSource(self._issue_token)

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {await self._source.token()}"}

    def reject(self, headers: Mapping[str, str]) -> None:
        if self._source.reject(headers["Authorization"].removeprefix("Bearer ")):
            self._forget_secret()

    async def close(self) -> None:
        """Ends a token request that is under way."""
        await self._source.close()

    async def _issue_token(self) -> IssuedToken:
        try:
            return await self._issue()
        except CredentialError:
            # The secret may have been replaced in the vault since it was read.
            self._forget_secret()
            raise
