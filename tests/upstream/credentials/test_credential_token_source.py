"""When a token is asked for, kept, refreshed and dropped."""

import asyncio

import pytest

from shared.stores.errors import StoreUnavailable
from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.token import IssuedToken
from shared.upstream.credentials.token_source import TokenSource


class Issuer:
    """Issues token-1, token-2, ... of one lifetime, once its gate is open, or fails while it has a failure."""

    def __init__(self, lifetime: float = 3600) -> None:
        self.lifetime = lifetime
        self.count = 0
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> IssuedToken:
        self.count += 1
        number = self.count
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return IssuedToken(f"token-{number}", self.lifetime)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_hundred_callers_share_one_token_request(clock):
    issuer = Issuer()
    source = TokenSource(issuer, clock=clock)
    assert set(await asyncio.gather(*(source.token() for _ in range(100)))) == {"token-1"}
    assert issuer.count == 1


@pytest.mark.parametrize(("lifetime", "refreshed_after"), [(3600, 3540), (300, 240), (60, 48)])
async def test_a_token_is_refreshed_before_it_expires_while_the_old_one_serves(clock, lifetime, refreshed_after):
    issuer = Issuer(lifetime)
    source = TokenSource(issuer, clock=clock)
    await source.token()
    clock.now += refreshed_after - 0.001
    assert await source.token() == "token-1"
    await settle()
    assert issuer.count == 1
    clock.now += 0.001
    issuer.open.clear()
    assert [await source.token() for _ in range(5)] == ["token-1"] * 5
    issuer.open.set()
    await settle()
    assert await source.token() == "token-2"
    assert issuer.count == 2


async def test_an_expired_token_is_never_given(clock):
    source = TokenSource(Issuer(60), clock=clock)
    await source.token()
    clock.now += 60
    assert await source.token() == "token-2"


async def test_the_life_of_a_token_starts_when_it_is_asked_for(clock):
    issuer = Issuer(60)
    issuer.open.clear()
    source = TokenSource(issuer, clock=clock)
    waiting = asyncio.create_task(source.token())
    await settle()
    clock.now += 60
    issuer.open.set()
    assert await waiting == "token-1"
    assert await source.token() == "token-2"


@pytest.mark.parametrize("lifetime", [0, -60])
async def test_a_token_without_a_life_is_used_once(clock, lifetime):
    source = TokenSource(Issuer(lifetime), clock=clock)
    assert [await source.token(), await source.token()] == ["token-1", "token-2"]


async def test_a_failed_refresh_is_no_error_while_the_old_token_is_good(clock):
    issuer = Issuer(300)
    source = TokenSource(issuer, clock=clock)
    await source.token()
    issuer.failure = CredentialError("token endpoint answered 500")
    clock.now += 250
    assert await source.token() == "token-1"
    await settle()
    assert await source.token() == "token-1"
    assert issuer.count == 2
    clock.now += 50
    with pytest.raises(CredentialError, match="answered 500"):
        await source.token()


@pytest.mark.parametrize("failure", [CredentialError("token endpoint answered 503"), StoreUnavailable("Key Vault")])
async def test_a_failure_is_remembered_for_a_second(clock, failure):
    issuer = Issuer()
    issuer.failure = failure
    source = TokenSource(issuer, clock=clock)
    outcomes = await asyncio.gather(*(source.token() for _ in range(100)), return_exceptions=True)
    assert outcomes == [failure] * 100
    clock.now += 0.9
    with pytest.raises(type(failure)):
        await source.token()
    assert issuer.count == 1
    issuer.failure = None
    clock.now += 0.2
    assert await source.token() == "token-2"


async def test_a_token_request_that_takes_too_long_is_an_error():
    issuer = Issuer()
    issuer.open.clear()
    with pytest.raises(CredentialError, match=r"no token within 0\.01 s"):
        await TokenSource(issuer, timeout=0.01).token()


async def test_a_caller_that_goes_away_does_not_take_the_token_from_the_others(clock):
    issuer = Issuer()
    issuer.open.clear()
    source = TokenSource(issuer, clock=clock)
    first, second = asyncio.create_task(source.token()), asyncio.create_task(source.token())
    await settle()
    first.cancel()
    await asyncio.wait({first})
    issuer.open.set()
    assert await second == "token-1"
    assert issuer.count == 1


async def test_only_the_current_token_can_be_rejected(clock):
    source = TokenSource(Issuer(), clock=clock)
    old = await source.token()
    assert source.reject(old)
    assert await source.token() == "token-2"
    clock.now += 60
    assert not source.reject(old)
    assert await source.token() == "token-2"


async def test_a_provider_that_rejects_every_token_causes_few_token_requests(clock):
    issuer = Issuer()
    source = TokenSource(issuer, clock=clock)
    for _ in range(50):
        source.reject(await source.token())
    assert issuer.count == 2
    clock.now += 5
    assert source.reject(await source.token())


async def test_closing_ends_a_token_request_that_is_under_way(clock):
    issuer = Issuer()
    issuer.open.clear()
    source = TokenSource(issuer, clock=clock)
    waiting = asyncio.create_task(source.token())
    await settle()
    await source.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_closing_a_source_that_never_asked_is_nothing(clock):
    await TokenSource(Issuer(), clock=clock).close()
