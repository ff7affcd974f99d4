"""Access tokens for a provider: as token endpoints issue them (RFC 6749, section 5.1), kept, and sent as bearers."""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from shared.stores.errors import StoreUnavailable
from shared.upstream.credentials.credential import CredentialError

DEFAULT_LIFETIME = 300.0
"""Seconds that a token lives when its response does not say (RFC 6749 only recommends `expires_in`)."""

_TIMEOUT_SECONDS = 10.0
_FAILURE_SECONDS = 1.0
_REJECT_SECONDS = 5.0
_VISIBLE = re.compile(r"[\x21-\x7e]+")

_Failure = CredentialError | StoreUnavailable


class IssuedToken(Struct, frozen=True):
    """`lifetime` is in seconds from when the token was requested; one that is not positive lets it be used once."""

    value: str
    lifetime: float

    def __repr__(self) -> str:
        return f"IssuedToken({self.lifetime})"


Issue = Callable[[], Awaitable[IssuedToken]]
"""Requests a token; raises CredentialError or StoreUnavailable."""


def parse_token(response: Mapping[str, object]) -> IssuedToken:
    """The token in a successful response; raises CredentialError when there is none that a bearer can use.

    `{"access_token": "2YotnFZFEjr1zCsicMWpAA", "token_type": "Bearer", "expires_in": 3600}`. A missing `token_type` is
    let pass, as providers forget it; `expires_in` may be a number or a number in a string.
    """
    kind = response.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise CredentialError("token endpoint answered with a token that is not a bearer token")
    return IssuedToken(token_value(response.get("access_token")), _lifetime(response.get("expires_in")))


def token_value(value: object) -> str:
    """`value` if it is a token that an Authorization header can carry; raises CredentialError otherwise."""
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise CredentialError("token endpoint answered without a usable access token")
    return value


def _lifetime(expires_in: object) -> float:
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str):
        return DEFAULT_LIFETIME
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return DEFAULT_LIFETIME
    return max(seconds, 0.0) if math.isfinite(seconds) else DEFAULT_LIFETIME


class _KeptToken(Struct, frozen=True):
    value: str
    refresh_at: float
    expires_at: float

    def __repr__(self) -> str:
        return "_KeptToken()"


class BearerCredential:
    """Sends the token that `issue` gets, which takes at most `timeout` seconds (RFC 6750, section 2.1).

    A token is refreshed at 80% of its life or 60 s before its end, whichever is later; meanwhile, and when that
    fails, the old one serves until it expires. A failure is remembered for a second, so that a hundred requests
    don't become a hundred failing token requests. `forget_secret` drops the cached secret that `issue` shows.
    """

    def __init__(
        self,
        issue: Issue,
        forget_secret: Callable[[], None],
        *,
        timeout: float = _TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issue = issue
        self._forget_secret = forget_secret
        self._timeout = timeout
        self._clock = clock
        self._kept: _KeptToken | None = None
        self._request: asyncio.Task[str | _Failure] | None = None
        self._request_again_at = 0.0
        self._reject_again_at = 0.0

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {await self._token()}"}

    def reject(self, headers: Mapping[str, str]) -> None:
        """Drops the token if it is the current one.

        At most once in five seconds: a provider whose response to any token is 401 must not turn every request into a
        token request.
        """
        now, token = self._clock(), headers["Authorization"].removeprefix("Bearer ")
        if self._kept is not None and self._kept.value == token and now >= self._reject_again_at:
            self._kept = None
            self._reject_again_at = now + _REJECT_SECONDS
            self._forget_secret()

    async def close(self) -> None:
        """Ends a token request that is under way."""
        if self._request is not None and not self._request.done():
            self._request.cancel()
            await asyncio.wait({self._request})

    async def _token(self) -> str:
        now = self._clock()
        kept = self._kept
        if kept is not None and now < kept.refresh_at:
            return kept.value
        request = self._request
        if request is None or (request.done() and now >= self._request_again_at):
            request = self._request = asyncio.create_task(self._requested())
        if kept is not None and now < kept.expires_at:
            return kept.value
        # Shielded: a caller that goes away must not take the token from the others that wait for it.
        outcome = await asyncio.shield(request)
        if isinstance(outcome, str):
            return outcome
        # Every waiter raises this one object, whose traceback would grow with each of them.
        raise outcome.with_traceback(None)

    async def _requested(self) -> str | _Failure:
        """The token or the failure, which is returned: nobody may be waiting for a task that raises."""
        requested_at = self._clock()
        try:
            async with asyncio.timeout(self._timeout):
                issued = await self._issue()
        except (CredentialError, StoreUnavailable, TimeoutError) as error:
            self._request_again_at = self._clock() + _FAILURE_SECONDS
            if isinstance(error, CredentialError):
                self._forget_secret()  # it may have been replaced in the vault since it was read
            return CredentialError(f"no token within {self._timeout:g} s") if isinstance(error, TimeoutError) else error
        life = issued.lifetime
        self._kept = _KeptToken(issued.value, requested_at + max(0.8 * life, life - 60), requested_at + life)
        return issued.value
