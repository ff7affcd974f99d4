"""A circuit breaker for each provider: after failures in a row it gets no requests for a while, and then one."""

import math
import time
from collections.abc import Callable

from cachetools import LRUCache
from msgspec import Struct

from shared.directory.provider import Provider
from shared.error_kind import ErrorKind
from shared.fhir.errors import FhirError
from shared.fhir.versions import FhirVersion

_MAX_FAILURES = 5
_PAUSE_SECONDS = 5.0
_MAX_PAUSE_SECONDS = 30.0
_MAX_REMEMBERED = 20_000


class _Circuit(Struct):
    """The failures of a provider since its last response. It is open from the fifth failure on."""

    failures: int = 0
    pause: float = _PAUSE_SECONDS
    retry_at: float = 0.0
    probing: bool = False

    @property
    def open(self) -> bool:
        return self.failures >= _MAX_FAILURES


_Key = tuple[str, FhirVersion, str]


class Attempt(Struct):
    """One request to a provider, made inside its `with` block.

    The caller sets `succeeded`; None says nothing of the provider. `probed` is the open circuit that it tries.
    """

    breaker: "Breaker"
    key: _Key
    probed: _Circuit | None
    succeeded: bool | None = None

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, *_: object) -> None:
        self.breaker.end(self)


class Breaker:
    """Refuses requests to a provider after five failures in a row.

    The refusal is a 503 with Retry-After. After five seconds one request is let through: if it succeeds all are,
    if not the pause doubles, up to thirty seconds. Each tenant's row has a circuit of its own, even where two lead to
    one server, and a row with a new `BaseUrl` or credential begins anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: LRUCache[_Key, _Circuit] = LRUCache(_MAX_REMEMBERED)

    def attempt(self, provider: Provider) -> Attempt:
        """For one request to the provider. Raises FhirError (503)."""
        key = provider.key
        circuit = self._circuits.get(key)
        return Attempt(self, key, circuit if circuit is not None and self._admit(circuit) else None)

    def end(self, attempt: Attempt) -> None:
        """Notes what came of an attempt."""
        if attempt.succeeded:
            self._circuits.pop(attempt.key, None)
        elif attempt.succeeded is False:
            self._failed(self._circuits.setdefault(attempt.key, _Circuit()), attempt.probed is not None)
        if attempt.probed is not None:
            attempt.probed.probing = False

    def _admit(self, circuit: _Circuit) -> bool:
        """Whether the request is the one that tries the provider; raises for all others while the circuit is open."""
        if not circuit.open:
            return False
        left = circuit.retry_at - self._clock()
        if left > 0 or circuit.probing:
            text = "The provider has not answered lately. Try again shortly."
            retry_after = {"Retry-After": str(max(math.ceil(left), 1))}
            raise FhirError(503, "transient", text, retry_after, ErrorKind.NOT_ASKED)
        circuit.probing = True
        return True

    def _failed(self, circuit: _Circuit, probe: bool) -> None:
        if circuit.open and not probe:
            return  # one of many that were under way when the circuit opened
        if probe:
            circuit.pause = min(2 * circuit.pause, _MAX_PAUSE_SECONDS)
        circuit.failures += 1
        circuit.retry_at = self._clock() + circuit.pause
