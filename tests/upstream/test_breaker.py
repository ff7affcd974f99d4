"""When a provider is left alone, and how it is found to be back."""

from dataclasses import dataclass, replace

import pytest

from shared.directory.provider import Access, BatchMode, Provider, ProviderAuth
from shared.fhir.errors import FhirError
from shared.fhir.versions import FhirVersion
from shared.upstream.breaker import Breaker

PROVIDER = Provider(
    tenant="5e1c7f3a-9a44-4c0e-8a1e-0d5f6b7c8d9e",
    version=FhirVersion.STU3,
    base_url="https://fhir.hospital.example",
    name="A hospital",
    enabled=True,
    auth=ProviderAuth(),
    extra_headers=(),
    batch=BatchMode.NATIVE,
    access=Access.READ,
    types=frozenset({"Patient"}),
    timeout_seconds=None,
    max_concurrent=8,
)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def ask(breaker: Breaker, answered: bool | None, provider: Provider = PROVIDER) -> None:
    with breaker.attempt(provider) as attempt:
        attempt.succeeded = answered


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        ask(breaker, False)


def retry_after(breaker: Breaker, provider: Provider = PROVIDER) -> int:
    """The seconds that a refusal names."""
    with pytest.raises(FhirError) as refused:
        ask(breaker, True, provider)
    assert (refused.value.status, refused.value.code) == (503, "transient")
    return int(refused.value.headers["Retry-After"])


def test_five_failures_in_a_row_open_the_circuit(breaker: Breaker) -> None:
    fail(breaker, 5)
    assert retry_after(breaker) == 5


def test_an_answer_in_between_begins_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 4)
    ask(breaker, True)
    fail(breaker, 4)
    ask(breaker, True)


def test_what_says_nothing_of_the_provider_counts_for_nothing(breaker: Breaker) -> None:
    fail(breaker, 4)
    for _ in range(10):
        ask(breaker, None)
    fail(breaker, 1)
    assert retry_after(breaker) == 5


def test_retry_after_is_what_is_left_of_the_pause(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 3.2
    assert retry_after(breaker) == 2


def test_one_request_finds_out_and_an_answer_lets_all_through(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 5
    with breaker.attempt(PROVIDER) as probe:
        assert retry_after(breaker) == 1
        probe.succeeded = True
    ask(breaker, True)
    fail(breaker, 4)
    ask(breaker, True)


def test_each_failed_probe_doubles_the_pause_up_to_thirty_seconds(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    pauses = []
    for _ in range(5):
        pauses.append(retry_after(breaker))
        clock.now += pauses[-1]
        fail(breaker, 1)
    assert pauses == [5, 10, 20, 30, 30]


def test_a_probe_that_is_given_up_leaves_the_next_one_to_find_out(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 5
    with pytest.raises(RuntimeError), breaker.attempt(PROVIDER):
        raise RuntimeError
    ask(breaker, True)
    ask(breaker, True)


def test_requests_that_were_under_way_do_not_prolong_the_pause(breaker: Breaker, clock: Clock) -> None:
    with breaker.attempt(PROVIDER) as early:
        fail(breaker, 5)
        clock.now += 2
        early.succeeded = False
    assert retry_after(breaker) == 3


def test_an_answer_to_a_request_that_was_under_way_closes_the_circuit(breaker: Breaker) -> None:
    with breaker.attempt(PROVIDER) as early:
        fail(breaker, 5)
        early.succeeded = True
    ask(breaker, True)


@pytest.mark.parametrize(
    "other",
    [
        replace(PROVIDER, tenant="00000000-0000-4000-8000-000000000000"),
        replace(PROVIDER, version=FhirVersion.R4),
        replace(PROVIDER, base_url="https://new.hospital.example"),
    ],
)
def test_another_row_has_a_circuit_of_its_own(breaker: Breaker, other: Provider) -> None:
    fail(breaker, 5)
    ask(breaker, True, other)
    assert retry_after(breaker) == 5
