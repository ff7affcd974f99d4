"""`tenant list` and `tenant show`: the rows of hospitals, each with its state as the portal tells it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from admin.command import examples, with_session
from admin.output import Columns, Fields
from admin.session import Session
from admin.tenants import GUID, existing_row, provider_fields, rows_of, version_argument
from shared.directory.errors import RowError
from shared.directory.provider import Provider
from shared.fhir.versions import FhirVersion

if TYPE_CHECKING:
    from shared.directory.traffic_history import Digest
    from shared.onboarding.checks import Check

STATES = ("failing", "problem", "slow", "never-checked", "answers", "off")
_CALM = ("never-checked", "answers", "off")
_COLUMNS = Columns(
    ("tenant_id", "version", "name", "state", "base_url", "auth", "access", "batch", "expiring", "reason"),
    needed=4,
    cut=("name", "base_url"),
    notes=("expiring", "reason"),
)


@click.command(
    "list",
    epilog=examples(
        "tenant list",
        "tenant list --state failing",
        "tenant list --version stu3 --search river",
        "tenant list --expiring --json",
    ),
)
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--version", type=click.Choice([version.value for version in FhirVersion]), help="Only those of it.")
@click.option("--search", default="", help="Only those with this in their name, tenant ID or base URL.")
@click.option("--expiring", is_flag=True, help="Only those whose last check found a credential's end within 30 days.")
@with_session
async def list_tenants(
    session: Session, state: str | None, version: str | None, search: str, *, expiring: bool
) -> None:
    """Lists rows by name, each with its state as the portal tells it: does the hospital answer, and why not."""
    wanted = search.strip().strip("{}").lower()
    rows = [(key, found) async for key, found in session.tenants.list()]
    _print(
        session,
        [
            fields
            for fields in await _with_states(session, rows)
            if state in (None, fields["state"])
            and version in (None, str(fields["version"]).lower())
            and (fields.get("expiring") or not expiring)
            and wanted in "\n".join(str(fields.get(name)) for name in ("tenant_id", "name", "base_url")).lower()
        ],
    )


@click.command(epilog=examples(f"tenant show {GUID}", f"tenant show {GUID} stu3"))
@click.argument("tenant")
@version_argument(required=False)
@with_session
async def show(session: Session, tenant: str, version: FhirVersion | None) -> None:
    """Shows a tenant's row for a FHIR version, with its state and last check; without one, all its rows, as a list."""
    from shared.onboarding.checks import latest_ends

    if version is None:
        _print(session, await _with_states(session, await rows_of(session, tenant)))
        return
    provider = await existing_row(session, tenant, version)
    digest, check = await asyncio.gather(session.traffic.digest(), session.checks.latest(provider.tenant, version))
    session.output.record(_fields(provider, digest, check, latest_ends([check] if check else [])))


def _print(session: Session, items: Iterable[Fields]) -> None:
    """Prints rows by name; a table for people has the reasons of the states that need someone."""
    found = sorted(items, key=lambda item: (str(item.get("name", "")).lower(), str(item["tenant_id"])))
    if not session.output.as_json:
        found = [{**item, "reason": None} if item["state"] in _CALM else item for item in found]
    session.output.records(found, _COLUMNS)


async def _with_states(
    session: Session, rows: Sequence[tuple[tuple[str, str], Provider | RowError]]
) -> Sequence[Fields]:
    from shared.onboarding.checks import latest_ends

    digest, checks = await asyncio.gather(session.traffic.digest(), session.checks.all())
    ends = latest_ends(checks.values())
    return [
        {"tenant_id": key[0], "version": key[1], "state": "problem", "reason": str(found)}
        if isinstance(found, RowError)
        else _fields(found, digest, checks.get((found.tenant, found.version)), ends)
        for key, found in rows
    ]


def _fields(provider: Provider, digest: "Digest", check: "Check | None", ends: Mapping[str, datetime | None]) -> Fields:
    # These need an SDK, which --help does without.
    from shared.directory.client import EXPIRES_SOON
    from shared.directory.traffic import hospital_subject
    from shared.onboarding.hospital_state import hospital_state

    day = digest.subjects.get(hospital_subject(provider.tenant, provider.version.value))
    soon = datetime.now(UTC) + EXPIRES_SOON
    ending = ((name, at) for name in provider.auth.secrets if check and (at := ends.get(name)) and at < soon)
    state = hospital_state(enabled=provider.enabled, problem="", binding=provider.binding, day=day, check=check)
    fields = dict(provider_fields(provider))
    shown = {name: fields.pop(name) for name in ("tenant_id", "version", "name")}
    shown |= {"state": state.state.code, "reason": state.reason(datetime.now(UTC))}
    if check is not None:
        shown |= {"checked": check.at, "checked_by": check.by, "verdict": check.verdict and check.verdict.value}
    return shown | fields | {"expiring": ", ".join(f"{name} on {at:%Y-%m-%d}" for name, at in ending) or None}
