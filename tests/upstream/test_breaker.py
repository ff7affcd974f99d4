"""When a provider is left alone, and how it is found to be back."""

import pytest

from shared.fhir.errors import FhirError
from shared.upstream.breaker import Breaker
from tests.upstream.rows import PROVIDER


class Circuit:
    """A breaker and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.breaker = Breaker(lambda: self.now)

    def sends(self, *outcomes: bool | None) -> None:
        """Requests that are let through, one after the other, and what came of them."""
        for outcome in outcomes:
            with self.breaker.attempt(PROVIDER) as attempt:
                attempt.succeeded = outcome

    def retry_after(self) -> int:
        """The seconds that a refusal names."""
        with pytest.raises(FhirError) as refused:
            self.sends(True)
        assert (refused.value.status, refused.value.code) == (503, "transient")
        return int(refused.value.headers["Retry-After"])


@pytest.fixture
def circuit() -> Circuit:
    return Circuit()


def test_five_failures_in_a_row_open_the_circuit_and_a_response_in_between_does_not(circuit: Circuit) -> None:
    circuit.sends(*[False] * 4, True, *[False] * 4, *[None] * 10, False)
    assert circuit.retry_after() == 5
    circuit.now += 3.2
    assert circuit.retry_after() == 2


def test_one_request_tries_the_provider_and_its_response_lets_all_through(circuit: Circuit) -> None:
    circuit.sends(*[False] * 5)
    circuit.now += 5
    with circuit.breaker.attempt(PROVIDER) as probe:
        assert circuit.retry_after() == 1
        probe.succeeded = True
    circuit.sends(True, *[False] * 4, True)


def test_each_failed_probe_doubles_the_pause_up_to_thirty_seconds(circuit: Circuit) -> None:
    circuit.sends(*[False] * 5)
    pauses = []
    for _ in range(5):
        pauses.append(circuit.retry_after())
        circuit.now += pauses[-1]
        circuit.sends(False)
    assert pauses == [5, 10, 20, 30, 30]


def test_a_probe_that_is_given_up_leaves_the_next_one_to_try(circuit: Circuit) -> None:
    circuit.sends(*[False] * 5)
    circuit.now += 5
    with pytest.raises(RuntimeError), circuit.breaker.attempt(PROVIDER):
        raise RuntimeError
    circuit.sends(True, True)


@pytest.mark.parametrize("succeeded", [True, False])
def test_one_that_was_under_way_may_close_it_but_prolongs_no_pause(circuit: Circuit, succeeded: bool) -> None:
    with circuit.breaker.attempt(PROVIDER) as early:
        circuit.sends(*[False] * 5)
        circuit.now += 2
        early.succeeded = succeeded
    if succeeded:
        circuit.sends(True)
    else:
        assert circuit.retry_after() == 3
