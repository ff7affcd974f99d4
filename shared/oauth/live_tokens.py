"""The access tokens that are good now: valid, and not ended before they expire."""

from dataclasses import dataclass

from shared.directory.client_cache import ClientCache
from shared.directory.revoked_tokens import RevokedTokens
from shared.error_kind import ErrorKind
from shared.oauth.access_token import LEEWAY_SECONDS, AccessTokens, EndedToken, Grant, InvalidToken


@dataclass(frozen=True, slots=True)
class LiveTokens:
    """Verifies access tokens against the directory: what ends one is seen within `CACHE_SECONDS`."""

    tokens: AccessTokens
    clients: ClientCache
    revoked: RevokedTokens

    async def grant(self, token: str) -> Grant:
        """What a token stands for. Raises InvalidToken or StoreUnavailable."""
        grant = await self.tokens.verify(token)
        if not await self.holds(grant):
            raise EndedToken(grant, ErrorKind.TOKEN_REVOKED)
        return grant

    async def holds(self, grant: Grant) -> bool:
        """Whether a token that was verified is good still: its client has the secret or key that it got it by, may
        reach the tenant, and did not revoke it. Raises StoreUnavailable.
        """
        client = await self.clients.holder(grant.client_id, grant.credential_id, grant.issued_at)
        if client is None or not client.may_reach(grant.tenant):
            return False
        return not await self.revoked.holds(grant.client_id, grant.token_id, _until(grant))

    async def own(self, token: str, client_id: str) -> Grant | None:
        """What this client's own token stands for, which may have been ended; None for any other, of which nothing
        is looked up. Raises StoreUnavailable.
        """
        try:
            grant = await self.tokens.verify(token)
        except InvalidToken:
            return None
        return grant if grant.client_id == client_id else None

    async def revoke(self, grant: Grant) -> None:
        """Ends a token for good, though something else may have ended it for now. Raises StoreUnavailable."""
        await self.revoked.add(grant.client_id, grant.token_id, _until(grant))


def _until(grant: Grant) -> int:
    """When no instance takes the token any more."""
    return grant.expires + LEEWAY_SECONDS
