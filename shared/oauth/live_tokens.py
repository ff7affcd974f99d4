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
        """What a token stands for, if its client and secret are still good, the client may still reach the tenant, and
        it was not revoked. Raises InvalidToken or StoreUnavailable.
        """
        grant = await self.tokens.verify(token)
        found = await self.clients.secret(grant.client_id, grant.secret_id)
        if found is None or not found[0].may_reach(grant.tenant):
            raise EndedToken(grant, ErrorKind.TOKEN_REVOKED)
        if await self.revoked.holds(grant.client_id, grant.token_id):
            raise EndedToken(grant, ErrorKind.TOKEN_REVOKED)
        return grant
