"""Access tokens for a provider: read from a token endpoint's response, kept, refreshed and dropped."""

import asyncio
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.stores.errors import StoreUnavailable
from shared.upstream.credentials.access_token import BearerCredential, IssuedToken, parse_token
from shared.upstream.credentials.client_credentials import redox_lifetime
from shared.upstream.credentials.credential import CredentialError

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        *((3600, 3600), (59.5, 59.5), ("3600", 3600), (" 60 ", 60), (0, 0), (-5, 0), ("-5", 0)),
        *((odd, 300) for odd in (None, "soon", "inf", "nan", 10**400, True, [60])),
    ],
)
def test_expires_in_may_be_odd(expires_in, seconds):
    token = parse_token({"access_token": "abcdef", "token_type": "BEARER", "expires_in": expires_in})
    assert (token.value, token.lifetime) == ("abcdef", seconds)
    assert "abcdef" not in repr(token)


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        *(({"access_token": "t", "token_type": kind}, "not a bearer token") for kind in ("DPoP", "mac", "", None, 1)),
        *(
            ({"access_token": value}, "without a usable access token")
            for value in ("", None, 7, "a b", "a\r\nX-Admin: yes", "a\n", "é")
        ),
    ],
)
def test_a_token_that_a_bearer_can_not_send_is_refused(response, problem):
    with pytest.raises(CredentialError, match=problem):
        parse_token(response)


@given(st.fixed_dictionaries({}, optional={"access_token": JSON, "token_type": JSON, "expires_in": JSON}))
def test_any_response_is_a_token_or_a_credential_error(response):
    try:
        token = parse_token(response)
    except CredentialError:
        return
    assert token.value.isascii()
    assert token.value.isprintable()
    assert math.isfinite(token.lifetime)
    assert token.lifetime >= 0


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        *((f"2024-05-01T{time}", 600) for time in ("12:10:00.000Z", "12:10:00", "14:10:00+02:00")),
        ("2024-05-01T11:59:00Z", -60),
        *((odd, 300) for odd in ("tomorrow", None, 1714565400)),
    ],
)
def test_redox_says_when_a_token_expires(expires, seconds):
    assert redox_lifetime(expires, NOW) == seconds


class Issuer:
    """A credential for token-1, token-2, ... of one lifetime, issued while `open` or failing with `failure`."""

    def __init__(self, lifetime: float = 3600, timeout: float = 10) -> None:
        self.lifetime = lifetime
        self.count = self.forgotten = 0
        self.now = 1000.0
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.credential = BearerCredential(self.issue, self.forget, timeout=timeout, clock=lambda: self.now)

    async def issue(self) -> IssuedToken:
        self.count += 1
        number = self.count
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return IssuedToken(f"token-{number}", self.lifetime)

    def forget(self) -> None:
        self.forgotten += 1

    async def token(self) -> str:
        return (await self.credential.headers())["Authorization"].removeprefix("Bearer ")

    def reject(self, token: str) -> None:
        self.credential.reject({"Authorization": f"Bearer {token}"})


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("lifetime", "refreshed_after"), [(3600, 3540), (300, 240), (60, 48)])
async def test_a_token_is_refreshed_before_it_expires_while_the_old_one_serves(lifetime, refreshed_after):
    issuer = Issuer(lifetime)
    assert {await issuer.token() for _ in range(100)} == {"token-1"}
    issuer.now += refreshed_after - 0.001
    assert await issuer.token() == "token-1"
    await settle()
    assert issuer.count == 1
    issuer.now += 0.001
    issuer.open.clear()
    assert [await issuer.token() for _ in range(5)] == ["token-1"] * 5
    await settle()
    issuer.now += 1
    issuer.open.set()
    await settle()
    # Its life starts when it was asked for.
    issuer.now += lifetime - 1.5
    assert await issuer.token() == "token-2"
    issuer.now += 0.5
    assert await issuer.token() == "token-3"


async def test_a_failed_refresh_is_no_error_while_the_old_token_is_good():
    issuer = Issuer(300)
    await issuer.token()
    issuer.failure = CredentialError("token endpoint answered 500")
    issuer.now += 250
    assert await issuer.token() == "token-1"
    await settle()
    assert await issuer.token() == "token-1"
    assert issuer.count == 2
    issuer.now += 50
    with pytest.raises(CredentialError, match="answered 500"):
        await issuer.token()


@pytest.mark.parametrize("failure", [CredentialError("token endpoint answered 503"), StoreUnavailable("Key Vault")])
async def test_a_failure_is_remembered_for_a_second(failure):
    issuer = Issuer()
    issuer.failure = failure
    outcomes = await asyncio.gather(*(issuer.token() for _ in range(100)), return_exceptions=True)
    assert outcomes == [failure] * 100
    issuer.now += 0.9
    with pytest.raises(type(failure)):
        await issuer.token()
    assert issuer.count == 1
    assert issuer.forgotten == isinstance(failure, CredentialError)
    issuer.failure = None
    issuer.now += 0.2
    assert await issuer.token() == "token-2"


async def test_a_token_request_that_takes_too_long_is_an_error():
    issuer = Issuer(timeout=0.01)
    issuer.open.clear()
    with pytest.raises(CredentialError, match=r"no token within 0\.01 s"):
        await issuer.token()


@pytest.mark.parametrize("lifetime", [0, -60])
async def test_a_token_without_a_life_is_used_once(lifetime):
    issuer = Issuer(lifetime)
    assert [await issuer.token(), await issuer.token()] == ["token-1", "token-2"]


async def test_a_caller_that_goes_away_does_not_take_the_token_from_the_others():
    issuer = Issuer()
    issuer.open.clear()
    first, second = asyncio.create_task(issuer.token()), asyncio.create_task(issuer.token())
    await settle()
    first.cancel()
    await asyncio.wait({first})
    issuer.open.set()
    assert await second == "token-1"
    assert issuer.count == 1


async def test_only_the_current_token_can_be_rejected_and_seldom():
    issuer = Issuer()
    await issuer.token()
    for _ in range(50):
        issuer.reject(await issuer.token())
    assert await issuer.token() == "token-2"
    issuer.now += 60
    issuer.reject("token-1")
    assert (await issuer.token(), issuer.forgotten) == ("token-2", 1)
    issuer.reject("token-2")
    assert (await issuer.token(), issuer.forgotten) == ("token-3", 2)
