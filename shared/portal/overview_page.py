"""The first page of an admin: which hospitals fail and why, the last day's requests, and what waits to be done."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeGuard

from shared.directory.access_requests import AccessRequests
from shared.directory.activity import ActivityLog
from shared.directory.client import EXPIRES_SOON, Client
from shared.directory.client_registry import ClientRegistry
from shared.directory.traffic_history import TrafficHistory
from shared.error_kind import Side
from shared.message import Response
from shared.onboarding.checks import latest_ends
from shared.onboarding.hospital_state import State
from shared.portal.hospital_list import Hospital, HospitalList
from shared.portal.hospital_traffic import requests_picture, total
from shared.portal.rendering import Renderer, see_other
from shared.portal.request import PortalRequest, Route
from shared.portal.tenant_list import TenantEntry

_SHOWN = 10
_ENDING_SHOWN = 50


@dataclass(frozen=True, slots=True)
class _Ending:
    """What ends: a client's secret or a credential of hospitals, with the pages of whose it is and to replace it."""

    ends: datetime
    name: str
    path: str
    others: int
    label: str
    id: str
    replace: str


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """Everything on it leads to where it can be mended. Owners are sent to their clients."""

    _renderer: Renderer
    _hospitals: HospitalList
    _traffic: TrafficHistory
    _clients: ClientRegistry
    _requests: AccessRequests
    _activity: ActivityLog

    def routes(self) -> Sequence[Route]:
        """The portal's root."""
        return (Route("GET", "/", self._show),)

    async def _show(self, request: PortalRequest) -> Response:
        if not request.principal.is_admin:
            return see_other("/clients")
        hospitals, digest, requests, changes, clients = await asyncio.gather(
            self._hospitals.all(),
            self._traffic.digest(),
            self._requests.waiting(),
            self._activity.latest(count=_SHOWN),
            self._all_clients(),
        )
        now, figures = datetime.now(UTC), total(digest.total)
        ending = sorted([*_secrets(clients, now), *_credentials(hospitals, now)], key=lambda each: each.ends)
        counts = Counter(hospital.state.state for hospital in hospitals)
        pressing = [hospital for hospital in hospitals if hospital.state.state in (State.FAILING, State.PROBLEM)]
        pressing.sort(key=lambda hospital: (-hospital.requests, hospital.entry.name.lower()))
        return self._renderer.page(
            "overview.html",
            request,
            now=now,
            total=len(hospitals),
            counts=[(state, counts[state]) for state in State],
            pressing=pressing[:_SHOWN],
            figures=figures,
            failed={side.value: figures.failed(side) for side in Side},
            requests_picture=requests_picture(digest.total),
            ending=ending[:_ENDING_SHOWN],
            ending_later=len(ending[_ENDING_SHOWN:]),
            has_clients=bool(clients),
            requests=requests,
            names=_names(hospitals, clients),
            changes=changes,
        )

    async def _all_clients(self) -> Sequence[Client]:
        return [client async for _, client in self._clients.list() if isinstance(client, Client)]


def _secrets(clients: Sequence[Client], now: datetime) -> Iterator[_Ending]:
    """The secrets of enabled clients that end within 30 days, or ended then and left their client with none."""
    for client in filter(lambda client: client.enabled, clients):
        for secret in client.secrets:
            if _is_soon(secret.expires, now) and (secret.is_live(now) or not client.live_secrets):
                path, name = f"/clients/{client.id}", client.name or client.id
                yield _Ending(secret.expires, name, path, 0, secret.label, secret.id, f"{path}#add-secret")


def _credentials(hospitals: Sequence[Hospital], now: datetime) -> Iterator[_Ending]:
    """The credentials of enabled hospitals that end within 30 days, or ended then, each with all that have it."""
    checks = [hospital.check for hospital in hospitals if hospital.check]
    soon = {name: ends for name, ends in latest_ends(checks).items() if _is_soon(ends, now)}
    users: defaultdict[str, list[TenantEntry]] = defaultdict(list)
    for hospital in hospitals:
        if hospital.check and hospital.entry.enabled:
            for name in filter(soon.__contains__, hospital.check.ends):
                users[name].append(hospital.entry)
    for name, (first, *others) in users.items():
        yield _Ending(soon[name], first.name, str(first.path), len(others), "", name, f"{first.path}/credential")


def _is_soon(ends: datetime | None, now: datetime) -> TypeGuard[datetime]:
    return ends is not None and abs(ends - now) < EXPIRES_SOON


def _names(hospitals: Sequence[Hospital], clients: Sequence[Client]) -> Mapping[str, str]:
    """What people call tenants by their ids, rows by `<tenant>/<version>` and clients by their ids."""
    entries = [hospital.entry for hospital in hospitals]
    names = {entry.tenant: entry.name for entry in entries if entry.tenant}
    names |= {
        f"{entry.tenant}/{entry.version.value}": f"{entry.name}, {entry.version.name}"
        for entry in entries
        if entry.version
    }
    return names | {client.id: client.name for client in clients if client.name}
