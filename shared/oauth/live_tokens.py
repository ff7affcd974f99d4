"""The access tokens that are good now: valid, and not ended before they expire."""

from dataclasses import dataclass

from shared.directory.client_cache import ClientCache
from shared.directory.revoked_tokens import RevokedTokens
from shared.error_kind import ErrorKind
from shared.oauth.access_token import AccessTokens, EndedToken, Grant


@dataclass(frozen=True, slots=True)
class LiveTokens:
    """Verifies access tokens against the directory: what ends one is seen within `CACHE_SECONDS`."""

    tokens: AccessTokens
    clients: ClientCache
    revoked: RevokedTokens

    async def grant(self, token: str) -> Grant:
        """What a token stands for. Raises InvalidToken or StoreUnavailable.

        Its client still has the secret or key that it got the token by, and may reach the tenant; it did not revoke it.
        """
        grant = await self.tokens.verify(token)
        client = await self.clients.holder(grant.client_id, grant.credential_id, grant.issued_at)
        reaches = client is not None and client.may_reach(grant.tenant)
        if not reaches or await self.revoked.holds(grant.client_id, grant.token_id):
            raise EndedToken(grant, ErrorKind.TOKEN_REVOKED)
        return grant
