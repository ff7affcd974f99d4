"""One provider's access token: kept, refreshed before it expires, and asked for by one request at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shared.stores.errors import StoreUnavailable
from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.token import IssuedToken

_TIMEOUT_SECONDS = 10.0
_FAILURE_SECONDS = 1.0
_REJECT_SECONDS = 5.0

Issue = Callable[[], Awaitable[IssuedToken]]
_Failure = CredentialError | StoreUnavailable


@dataclass(frozen=True, slots=True)
class _HeldToken:
    value: str = field(repr=False)
    refresh_at: float
    expires_at: float


class TokenSource:
    """Gives the token that `issue` gets, which takes at most `timeout` seconds.

    A token is refreshed at 80% of its life or 60 s before its end, whichever is later; meanwhile, and when that
    fails, the old one serves until it expires. A failure is remembered for a second, so that a hundred requests
    don't become a hundred failing token requests.
    """

    def __init__(
        self, issue: Issue, *, timeout: float = _TIMEOUT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issue = issue
        self._timeout = timeout
        self._clock = clock
        self._held: _HeldToken | None = None
        self._load: asyncio.Task[str | _Failure] | None = None
        self._load_again_at = 0.0
        self._reject_again_at = 0.0

    async def token(self) -> str:
        """A token that has not expired, to be used now; raises CredentialError or StoreUnavailable."""
        now = self._clock()
        held = self._held
        if held is not None and now < held.refresh_at:
            return held.value
        load = self._load
        if load is None or (load.done() and now >= self._load_again_at):
            load = self._load = asyncio.create_task(self._load_token())
        if held is not None and now < held.expires_at:
            return held.value
        # Shielded: a caller that goes away must not take the token from the others that wait for it.
        outcome = await asyncio.shield(load)
        if isinstance(outcome, str):
            return outcome
        # Every waiter raises this one object, whose traceback would grow with each of them.
        raise outcome.with_traceback(None)

    def reject(self, token: str) -> bool:
        """Drops `token` if it is the current one, and tells whether it did.

        At most once in five seconds: a provider that answers 401 to any token must not turn every request into a
        token request.
        """
        now = self._clock()
        if self._held is None or self._held.value != token or now < self._reject_again_at:
            return False
        self._held = None
        self._reject_again_at = now + _REJECT_SECONDS
        return True

    async def close(self) -> None:
        """Ends a token request that is under way."""
        if self._load is not None and not self._load.done():
            self._load.cancel()
            await asyncio.wait({self._load})

    async def _load_token(self) -> str | _Failure:
        """The token or the failure, which is returned: nobody may be waiting for a task that raises."""
        asked_at = self._clock()
        try:
            async with asyncio.timeout(self._timeout):
                issued = await self._issue()
        except TimeoutError:
            return self._failed(CredentialError(f"no token within {self._timeout:g} s"))
        except (CredentialError, StoreUnavailable) as error:
            return self._failed(error)
        life = issued.lifetime
        self._held = _HeldToken(issued.value, asked_at + max(0.8 * life, life - 60), asked_at + life)
        return issued.value

    def _failed(self, failure: _Failure) -> _Failure:
        self._load_again_at = self._clock() + _FAILURE_SECONDS
        return failure
