"""The night's work: all hospitals checked, what has expired deleted, and what is about to end told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from shared.audit import AuditLog
from shared.directory.activity import ActivityLog
from shared.directory.client import CLIENT_ROW, EXPIRES_SOON, REQUEST_ROW_PREFIX, vault_name
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import RowError
from shared.directory.provider import AuthKind, Provider
from shared.directory.tenant_registry import TenantRegistry, by_meaning
from shared.directory.traffic_history import TrafficHistory
from shared.onboarding.check import check
from shared.onboarding.checks import CheckLog
from shared.onboarding.probe import open_probe
from shared.onboarding.report import Verdict
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.stores.tables import ACTIVITY, ASSERTIONS, CHECKS, CLIENTS, PAGES, REVOKED, TENANTS, TRAFFIC, USAGE, Table
from shared.stores.vault import SecretVersion, Vault
from shared.upstream.credentials.stored import stored_certificate_end
from shared.upstream.page_handles import KEPT_AFTER_EXPIRY

NIGHT_SECONDS = 480
"""So long a run of the timer begins new work. With its last checks it ends within eleven minutes: before the next run,
after fifteen, and long before the platform would end it, after thirty."""
CHECK_SECONDS = 180
_NIGHT = timedelta(hours=12)
_NEVER = datetime.fromtimestamp(0, UTC)
_AT_ONCE = 4  # hospitals, each with up to four calls
_KEPT = timedelta(days=90)

_log = logging.getLogger(__name__)

Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""Entered with the number of hospitals to be checked, while they are; what it yields is called for each."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """The end of a secret or a certificate (UTC; None for never), by its name.

    `subject` is the id of the client or `<tenant>/<version>` of the row that has it.
    """

    subject: str
    name: str
    expires: datetime | None


@dataclass(slots=True)
class Outcome:
    """The result of a run, in numbers of hospitals, rows and parts.

    `not_loading` and `unfinished` are among `checked`. `managed_identity` are skipped: the closed app's identity is not
    the one that their servers let in. `unusable` have a row that can't be used, `not_run` a credential that the vault
    did not give; `left` are for the next run. `failed` names the parts that did not get through.
    """

    checked: int = 0
    not_loading: int = 0
    unfinished: int = 0
    managed_identity: int = 0
    unusable: int = 0
    not_run: int = 0
    left: int = 0
    deleted: dict[str, int] = field(default_factory=dict)
    expiring: list[Expiry] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Upkeep:
    """Does the night's work. It may be run at any time, again, and by two at once: no harm comes of it."""

    def __init__(self, settings: Settings, table: Callable[[str], Table], vault: Vault, audit: AuditLog) -> None:
        self._settings = settings
        self._table = table
        self._vault = vault
        self._audit = audit
        self._tenants = TenantRegistry(table(TENANTS), local=settings.local)
        self._clients = ClientRegistry(table(CLIENTS), vault)
        self._checks = CheckLog(table(CHECKS))
        self._activity = ActivityLog(table(ACTIVITY), audit)

    async def nightly(self) -> Outcome:
        """One of the night's runs: goes on with the hospitals that the runs before it did not get to."""
        return await self.run("upkeep", datetime.now(UTC) - _NIGHT, NIGHT_SECONDS)

    async def run(
        self,
        by: str,
        not_since: datetime,
        seconds: float | None = None,
        progress: Progress = lambda total: nullcontext(lambda: None),
    ) -> Outcome:
        """Does all parts, and notes a line; one that fails does not end the others.

        Hospitals that were not checked since `not_since`, or have another row since, are checked in the name of `by`,
        the least recently checked first. Once `seconds` have passed no check begins, and no other part goes on; what is
        deleted has half of them, so that a large table leaves time for checks.
        """
        outcome = Outcome()
        began = asyncio.get_running_loop().time()
        deadline, half = (None, None) if seconds is None else (began + seconds, began + seconds / 2)
        for name, part, until in (
            ("expiries", partial(self._tell_expiries, outcome.expiring), deadline),
            ("what has expired", partial(self._delete_expired, outcome.deleted), half),
            ("what is kept of those that are gone", partial(self._delete_forgotten, outcome.deleted), half),
            # A check that has begun has its own time.
            ("checks", partial(self._check, outcome, by, not_since, deadline, progress), None),
        ):
            try:
                async with asyncio.timeout_at(until):
                    await part()
            except (StoreUnavailable, TimeoutError) as error:
                outcome.failed.append(name)
                _log.error("upkeep: %s: %s", name, error or "no time left, the next run goes on")
            except Exception:
                outcome.failed.append(name)
                _log.exception("upkeep: %s", name)
        self._audit.upkeep(asdict(outcome) | {"expiring": len(outcome.expiring)})
        return outcome

    async def _delete_expired(self, deleted: dict[str, int]) -> None:
        now = datetime.now(UTC)
        limit = now - KEPT_AFTER_EXPIRY
        for table in (PAGES, REVOKED, ASSERTIONS):
            deleted[table.lower()] = await self._table(table).delete_where("Expires lt @limit", {"limit": limit})
        deleted["activity"] = await self._activity.delete_before(now - _KEPT)
        deleted["traffic"] = await TrafficHistory(self._table(TRAFFIC)).delete_before(now - _KEPT)

    async def _delete_forgotten(self, deleted: dict[str, int]) -> None:
        """What is kept is read before what there is: what is made meanwhile is not taken for gone."""
        checked = await self._checks.all()
        used = await self._keys(USAGE)
        hospitals, clients = by_meaning(await self._tenants.rows()), await self._keys(CLIENTS)
        there = {client_id for client_id, row_key in clients if row_key == CLIENT_ROW}
        left = [key for key in clients if key[1].startswith(REQUEST_ROW_PREFIX)]
        orphans = checked.keys() - hospitals.keys()
        for tenant, version in orphans:
            await self._checks.delete(tenant, version)
        deleted["checks"] = len(orphans)
        for name, table, keys in (("usage", USAGE, used), ("requests", CLIENTS, left)):
            gone = [key for key in keys if key[0] not in there]
            await self._table(table).delete_all(gone)
            deleted[name] = len(gone)

    async def _keys(self, table: str) -> list[tuple[str, str]]:
        rows = self._table(table).scan(["PartitionKey", "RowKey"])
        return [(str(row["PartitionKey"]), str(row["RowKey"])) async for row in rows]

    async def _tell_expiries(self, found: list[Expiry]) -> None:
        """Notes a line for each client's secret, provider's credential and certificate that ends soon."""
        # Key Vault does not tell capitals apart.
        stored = {version.name.lower(): version async for version in self._vault.secrets()}
        now = datetime.now(UTC)
        async for ends in self._ends(stored, now):
            if ends.expires is not None and now < ends.expires <= now + EXPIRES_SOON:
                found.append(ends)
                self._audit.expiry(subject=ends.subject, name=ends.name, expires=ends.expires)

    async def _ends(self, stored: Mapping[str, SecretVersion], now: datetime) -> AsyncIterator[Expiry]:
        async for client_id, client in self._clients.list():
            if isinstance(client, RowError) or not client.enabled:
                continue
            for secret in client.secrets:
                version = stored.get(vault_name(client_id, secret.id))
                if version is not None and secret.authenticates(version, now):
                    yield Expiry(client_id, f"secret {secret.id}", secret.expires_with(version))
        certificates: dict[str, datetime | None] = {}
        async for _, provider in self._tenants.list():
            if isinstance(provider, RowError) or not provider.enabled:
                continue
            subject = f"{provider.tenant}/{provider.version.value}"
            for name in provider.auth.secrets:
                if (version := stored.get(name.lower())) is not None:
                    yield Expiry(subject, name, version.expires)
            if (certificate := provider.auth.certificate) is not None:
                if certificate not in certificates:
                    certificates[certificate] = await stored_certificate_end(self._vault, certificate)
                yield Expiry(subject, certificate, certificates[certificate])

    async def _check(
        self, outcome: Outcome, by: str, not_since: datetime, deadline: float | None, progress: Progress
    ) -> None:
        last = await self._checks.all()
        due: list[tuple[datetime, Provider]] = []
        async for _, found in self._tenants.list():
            if isinstance(found, RowError):
                outcome.unusable += 1
            elif found.enabled and found.auth.kind is AuthKind.MANAGED_IDENTITY:
                outcome.managed_identity += 1
            elif found.enabled:
                check = last.get((found.tenant, found.version))
                if check is None or check.at < not_since or check.binding != found.binding:
                    due.append((check.at if check is not None else _NEVER, found))
        due.sort(key=lambda item: item[0])
        waiting = iter(due)
        outcome.left = len(due)
        loop = asyncio.get_running_loop()

        async def work() -> None:
            while deadline is None or loop.time() < deadline:
                _, provider = next(waiting, (None, None))
                if provider is None:
                    return
                outcome.left -= 1
                await self._check_one(provider, outcome, by)
                ended()

        with progress(len(due)) as ended:
            await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    async def _check_one(self, provider: Provider, outcome: Outcome, by: str) -> None:
        report = None
        try:
            async with asyncio.timeout(CHECK_SECONDS), open_probe(provider, self._vault, self._settings) as probe:
                report = await check(probe)
        except TimeoutError:
            outcome.unfinished += 1
        except Exception as error:  # of one hospital, which the others have nothing to do with
            outcome.not_run += 1
            known = isinstance(error, StoreUnavailable)
            _log.error("upkeep: a check could not run: %s", error if known else "", exc_info=not known)
            return
        outcome.checked += 1
        outcome.not_loading += report is not None and report.verdict is Verdict.DOES_NOT_LOAD
        await self._checks.record(provider, report, by, self._vault)
