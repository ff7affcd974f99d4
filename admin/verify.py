"""`tenant verify`: plays the app's calls against a provider and reports whether the app can work with it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from admin.command import CouldNotRun, examples, with_session
from admin.output import Columns, Fields, printable
from admin.session import Session
from admin.tenants import existing_row, rows_of, version_argument
from shared.directory.errors import Refusal, RowError
from shared.directory.provider import Provider
from shared.fhir.versions import FhirVersion
from shared.stores.errors import StoreUnavailable

if TYPE_CHECKING:
    from shared.onboarding.report import FieldReport, Report, ResourceReport
    from shared.onboarding.section import OnStep, Step

_NoReport = RowError | StoreUnavailable

_GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
_MAX_CONCURRENT = 8
_WILL_NOT_LOAD = 1
_VERDICTS = Columns(
    ("tenant_id", "version", "name", "verdict", "gaps", "slowest_ms", "problem"),
    needed=4,
    cut=("name",),
    notes=("problem",),
)


@click.command(
    epilog=examples(
        f"tenant verify {_GUID} stu3",
        f"tenant verify {_GUID} stu3 --patient-id test-1 --strict --json",
        "tenant verify --all",
    )
)
@click.argument("tenant", required=False)
@version_argument(required=False)
@click.option("--all", "everyone", is_flag=True, help="Check every row that is switched on, and print one line each.")
@click.option("--patient-id", metavar="ID", help="A patient to test with; the first one the server lists unless given.")
@click.option("--strict", is_flag=True, help="End with 1 when there is any gap.")
@partial(with_session, failure=CouldNotRun)
async def verify(
    session: Session,
    tenant: str | None,
    version: FhirVersion | None,
    everyone: bool,
    patient_id: str | None,
    strict: bool,
) -> None:
    """Checks whether the app can work with a tenant's FHIR server.

    Plays the app's calls with the row's own credential, and tells for each resource type what works, how fast, and
    which fields are there: counts only, no patient's data. Without a version it checks all rows of the tenant.

    Ends with 0 when the app will load, 1 when it will not, 2 when the check could not run.
    """
    if everyone == (tenant is not None) or (everyone and patient_id is not None):
        raise click.UsageError("give either a tenant, with --patient-id if you like, or --all")
    if tenant is None:
        code = await _verify_all(session, strict=strict)
    else:
        code = await _verify_tenant(session, tenant, version, patient_id, strict=strict)
    click.get_current_context().exit(code)


async def _verify_tenant(
    session: Session, tenant: str, version: FhirVersion | None, patient_id: str | None, *, strict: bool
) -> int:
    from shared.onboarding.app_call import is_id

    if patient_id is not None and not is_id(patient_id):
        raise Refusal("--patient-id is not a FHIR id: 1 to 255 letters, digits and any of - . _ ~")
    providers = await _providers(session, tenant, version)
    reports = []
    for provider in providers:
        with _live_table(provider) as on_step:
            reports.append(await _check(session, provider, patient_id, on_step))
    if session.output.as_json and version is not None:
        session.output.record(_json_fields(reports[0]))
    elif session.output.as_json:
        session.output.records([_json_fields(report) for report in reports], Columns(()))
    else:
        for number, report in enumerate(reports):
            if number:
                click.echo()
            _print_report(session, report)
    return max(_exit_code(report, strict=strict) for report in reports)


async def _verify_all(session: Session, *, strict: bool) -> int:
    rows = [(key, found) async for key, found in session.tenants.list() if isinstance(found, RowError) or found.enabled]
    slots = asyncio.Semaphore(_MAX_CONCURRENT)

    async def checked(found: Provider | RowError, ended: Callable[[], None]) -> "Report | _NoReport":
        async with slots:
            try:
                if isinstance(found, RowError):
                    return found
                return await _check(session, found, None, lambda step: None)
            except StoreUnavailable as error:
                return error
            finally:
                ended()

    with session.output.progress("tenants", len(rows)) as ended:
        results = await asyncio.gather(*(checked(found, ended) for _, found in rows))
    items: list[Fields] = []
    for ((tenant, version), _), result in zip(rows, results, strict=True):
        if isinstance(result, _NoReport):
            key = {"tenant_id": tenant, "version": version}
            items.append({**key, "verdict": "could-not-run", "problem": str(result)})
        else:
            items.append(_json_fields(result) if session.output.as_json else _line(result))
    session.output.records(items, _VERDICTS)
    return max((_exit_code(result, strict=strict) for result in results), default=0)


async def _providers(session: Session, tenant: str, version: FhirVersion | None) -> list[Provider]:
    """The tenant's provider for a version, or all of its providers. Raises Refusal or RowError."""
    if version is not None:
        return [await existing_row(session, tenant, version)]
    providers = []
    for _, found in await rows_of(session, tenant):
        if isinstance(found, RowError):
            raise found
        providers.append(found)
    return providers


async def _check(session: Session, provider: Provider, patient_id: str | None, on_step: "OnStep") -> "Report":
    from shared.onboarding.check import check
    from shared.onboarding.probe import open_probe

    async with open_probe(provider, session.vault, session.settings) as probe:
        report = await check(probe, patient_id=patient_id, on_step=on_step)
    await session.checks.record(provider, report, session.actor, session.vault)
    return report


def _exit_code(report: "Report | _NoReport", *, strict: bool) -> int:
    from shared.onboarding.report import Verdict

    if isinstance(report, _NoReport):
        return CouldNotRun.exit_code
    good = report.verdict is Verdict.LOADS or (report.verdict is Verdict.LOADS_WITH_GAPS and not strict)
    return 0 if good else _WILL_NOT_LOAD


def _json_fields(report: "Report") -> Fields:
    from shared.onboarding.report import summary, to_json

    return {**to_json(report), "summary": summary(report)}


def _line(report: "Report") -> Fields:
    """A report as a line among others: its gaps are counted, and its first problem stands for them."""
    problem = next((f"{part}: {problem.text}" for part, problem in report.problems()), None)
    return {
        "tenant_id": report.tenant,
        "version": report.version.value,
        "name": report.name,
        "verdict": report.verdict.value,
        "gaps": report.gaps,
        "slowest_ms": _rounded(report.slowest),
        "problem": problem,
    }


def _print_report(session: Session, report: "Report") -> None:
    from shared.onboarding.problem import Mender
    from shared.onboarding.report import summary, verdict

    click.echo(printable(verdict(report)))
    click.echo()
    resources = [_resource_fields(resource) for resource in report.resources]
    session.output.records(resources, Columns(tuple(resources[0]), needed=3, notes=("lacks", "lacks_recommended")))
    for mender, title in ((Mender.ADMIN, "For you to mend:"), (Mender.HOSPITAL, "For the hospital to mend:")):
        problems = [
            {"part": part, "call": problem.call, "problem": problem.text, "what_to_do": problem.hint}
            for part, problem in report.to_mend(mender)
        ]
        if problems:
            click.echo(f"\n{title}\n")
            session.output.records(problems, Columns(tuple(problems[0]), notes=("problem", "what_to_do")))
    click.echo("\nTo send to the hospital:\n")
    click.echo("\n".join(map(printable, summary(report).splitlines())))


def _resource_fields(resource: "ResourceReport") -> Fields:
    return {
        "resource": resource.type,
        "status": "not needed" if resource.spare else resource.status.value,
        "p50_ms": _rounded(resource.slowest),
        "answers": ", ".join(sorted({call.media_type for call in resource.calls if call.media_type})),
        "entries": resource.entries,
        "total": resource.total,
        "lacks": _lacking(field for field in resource.fields if field.required),
        "lacks_recommended": _lacking(field for field in resource.fields if not field.required),
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def _lacking(fields: Iterable["FieldReport"]) -> str:
    """The fields that some entries lack, with the number of entries that have them."""
    lacking = (field for field in fields if field.present < field.entries)
    return ", ".join(f"{field.path} (in {field.present} of {field.entries})" for field in lacking)


@contextmanager
def _live_table(provider: Provider) -> Iterator["OnStep"]:
    """Shows each call as it ends, a line for each part, on a terminal; the report takes its place."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    console = Console(stderr=True, markup=False, emoji=False)
    if not console.is_interactive:
        yield lambda step: None
        return
    last: dict[str, tuple[int, Step]] = {}
    with Live(console=console, transient=True) as live:

        def on_step(step: "Step") -> None:
            last[step.section] = (last[step.section][0] + 1 if step.section in last else 1, step)
            table = Table("part", "calls", "last call", "status", "p50 ms", title=printable(provider.name), box=None)
            for part, (calls, latest) in last.items():
                call = latest.call
                table.add_row(part, str(calls), call.call, str(call.status or "none"), f"{call.milliseconds:.0f}")
            live.update(table)

        yield on_step
