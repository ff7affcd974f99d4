"""The hospitals with their states, as the overview counts them and the list filters and sorts them."""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.directory.traffic import hospital_subject
from shared.directory.traffic_history import Digest, SubjectDay, TrafficHistory
from shared.fhir.versions import FhirVersion
from shared.onboarding.checks import Check, CheckLog
from shared.onboarding.hospital_state import HospitalState, State, hospital_state
from shared.pauses import paused
from shared.portal.tenant_list import READ_AHEAD, TenantEntry, TenantList
from shared.settings import Settings
from shared.stores.cache import Cache

Checks = Mapping[tuple[str, FhirVersion], Check]


@dataclass(frozen=True, slots=True)
class Hospital:
    """A row of the list, its hospital's state, and its last day's traffic and its last check, if it had any.

    A check that was made before the row changed counts as none.
    """

    entry: TenantEntry
    state: HospitalState
    day: SubjectDay | None
    check: Check | None

    @property
    def requests(self) -> int:
        """FHIR requests of the last day."""
        return self.day.figures.requests if self.day else 0

    @property
    def version(self) -> str:
        """The row's FHIR version, as it was typed where that means none."""
        return self.entry.version.value if self.entry.version else self.entry.key[1]


_PLACES = {state: place for place, state in enumerate(State)}

# The columns to sort by; of states the most pressing is first.
_SORTS: Mapping[str, Callable[[Hospital], Any]] = {
    "name": lambda hospital: hospital.entry.name.lower(),
    "id": lambda hospital: hospital.entry.tenant or hospital.entry.key[0],
    "version": lambda hospital: hospital.version,
    "state": lambda hospital: _PLACES[hospital.state.state],
    "requests": lambda hospital: hospital.requests,
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which hospitals a list shows, and in which order: by `sort`, downwards with a `-` before it, then by name."""

    search: str = ""
    state: str = ""
    version: str = ""
    sort: str = "name"

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Selection":
        """What a page's query asks for; a sort that there is none of is by name."""
        sort = query.get("sort", "")
        known = sort.removeprefix("-") in _SORTS
        return cls(query.get("q", ""), query.get("state", ""), query.get("version", ""), sort if known else "name")

    def query(self, **changes: str) -> Mapping[str, str]:
        """The query of a page with these changes, without what holds by default."""
        values = {"q": self.search, "state": self.state, "version": self.version, "sort": self.sort, **changes}
        return {name: value for name, value in values.items() if value and (name, value) != ("sort", "name")}

    def turned(self, column: str) -> str:
        """The sort that the heading of a column leads to: by it, and the other way when it is by it already."""
        ways = (f"-{column}", column) if column == "requests" else (column, f"-{column}")
        return ways[self.sort == ways[0]]

    def of(self, hospitals: Sequence[Hospital]) -> Sequence[Hospital]:
        """The selected ones, of hospitals by name. The search is for a GUID, a name or a host, in any case."""
        wanted = self.search.strip().strip("{}").lower()
        found = [
            hospital
            for hospital in hospitals
            if (not self.state or hospital.state.state.code == self.state)
            and (not self.version or hospital.version == self.version)
            and (not wanted or wanted in hospital.entry.searched)
        ]
        return sorted(found, key=_SORTS[self.sort.removeprefix("-")], reverse=self.sort.startswith("-"))


class HospitalList:
    """All hospitals with their states, told anew whenever rows, traffic or checks were read anew."""

    def __init__(self, settings: Settings, tenants: TenantList, traffic: TrafficHistory, checks: CheckLog) -> None:
        self._tenants = tenants
        self._traffic = traffic
        self._checks: Cache[str, Checks] = Cache(
            lambda _: checks.all(), fresh_seconds=settings.cache_seconds, ahead=READ_AHEAD, stale_seconds=0, size=1
        )
        self._read: tuple[Sequence[TenantEntry], Digest, Checks | None] | None = None
        self._hospitals: Sequence[Hospital] = ()

    async def all(self) -> Sequence[Hospital]:
        """The hospitals by name. Raises StoreUnavailable."""
        read = await asyncio.gather(self._tenants.entries(), self._traffic.digest(), self._checks.get(""))
        if self._read is None or any(new is not old for new, old in zip(read, self._read, strict=True)):
            hospitals = await paused(_hospitals(*read))
            self._read, self._hospitals = read, hospitals
        return self._hospitals

    def expire(self) -> None:
        """Lets the checks be read anew, after one."""
        self._checks.expire("", reload=True)


def _hospitals(
    entries: Sequence[TenantEntry] | None, digest: Digest, checks: Checks | None
) -> Generator[None, None, Sequence[Hospital]]:
    hospitals: list[Hospital] = []
    for entry in entries or ():
        hospitals.append(_hospital(entry, digest.subjects, checks or {}))
        yield
    return hospitals


def _hospital(entry: TenantEntry, days: Mapping[str, SubjectDay], checks: Checks) -> Hospital:
    day, check = None, None
    if entry.tenant is not None and entry.version is not None:
        day = days.get(hospital_subject(entry.tenant, entry.version.value))
        check = checks.get((entry.tenant, entry.version))
        check = check if check and check.binding == entry.binding else None
    state = hospital_state(enabled=entry.enabled, problem=entry.problem, binding=entry.binding, day=day, check=check)
    return Hospital(entry, state, day, check)
