"""`tenant import` and `tenant export`: the rows of all hospitals as a CSV file."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO

import click

from admin.command import examples, with_session
from admin.output import Fields, counted
from admin.session import Session
from shared.directory.errors import Refusal, RowError
from shared.stores.errors import StoreUnavailable

if TYPE_CHECKING:
    from shared.directory.tenant_csv import PlannedRow, TenantImport


@click.command(
    "import",
    epilog=examples(
        "tenant import hospitals.csv --dry-run",
        "tenant import hospitals.csv",
        "tenant import hospitals.csv --replace",
    ),
)
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Check the file, say what it would do, and write nothing.")
@click.option(
    "--replace", is_flag=True, help="Change rows that are there already, which are left and listed without it."
)
@with_session
async def import_tenants(session: Session, file: BinaryIO, dry_run: bool, replace: bool) -> None:
    """Makes and changes many rows from a CSV file (- is standard input).

    The first line names the columns: TenantId, FhirVersion, and any of the table's; ./gateway tenant export writes such
    a file. Columns that the file does not have stay as they are, empty cells empty them. All lines are checked before
    one is written. An import that was interrupted is finished by running it again.
    """
    from shared.directory.tenant_csv import TenantImport

    tenants = TenantImport(session.tenants)
    plan = await tenants.plan(file.read())
    if plan.problems:
        session.output.result({"problems": tuple(map(asdict, plan.problems))}, *map(str, plan.problems))
        raise Refusal(f"nothing was written: {counted(len(plan.problems), 'problem')} in the file")
    rows = [*plan.additions, *(plan.replacements if replace else ())]
    left = [] if replace else list(plan.replacements)
    written, met = (rows, []) if dry_run else await _write(session, tenants, rows)
    additions = sum(row.change.read is None for row in written)
    done = {"added": additions, "changed": len(written) - additions, "unchanged": plan.unchanged}
    refused = [*left, *met]
    counts = (f"{number} {what}" for what, number in (done | {"refused": len(refused)}).items())
    session.output.result(
        {**done, "dry_run": dry_run, "left": tuple(map(_fields, refused))},
        *(f"line {row.record.line}, {_subject(row)}: {', '.join(row.change.columns)}" for row in refused),
        ("Nothing was written. It would be: " if dry_run else "") + ", ".join(counts),
    )
    if left:
        raise Refusal(f"{counted(len(left), 'row')} refused: there already, and different (add --replace to change)")
    if met:
        raise Refusal(
            f"{counted(len(met), 'row')} refused: changed by someone else meanwhile (look, and run the same again)"
        )


@click.command(
    "export",
    epilog=examples("tenant export hospitals.csv", "tenant export > hospitals.csv"),
)
@click.argument("file", type=click.File("wb", atomic=True), required=False)
@with_session
async def export_tenants(session: Session, file: BinaryIO | None) -> None:
    """Writes all rows to a CSV file, or to standard output.

    Rows that can't be used are written as well. A cell that a spreadsheet would take for a formula has an apostrophe
    before it, which ./gateway tenant import takes off again.
    """
    from shared.directory.tenant_csv import write_csv

    rows = await session.tenants.rows()
    if file is None:
        click.echo(write_csv(rows), nl=False)
        return
    file.write(write_csv(rows))
    unusable = sum(isinstance(session.tenants.read(row), RowError) for row in rows)
    more = f" {unusable} of them can't be used: ./gateway tenant list says why." if unusable else ""
    session.output.result({"rows": len(rows), "unusable": unusable}, f"{len(rows)} rows are written.{more}")


async def _write(
    session: Session, tenants: "TenantImport", rows: Sequence["PlannedRow"]
) -> tuple[Sequence["PlannedRow"], Sequence["PlannedRow"]]:
    """Writes rows, with an audit line for each; those written, and those that someone else wrote meanwhile."""
    written: list[PlannedRow] = []

    def done() -> str:
        return f"{len(written)} of {counted(len(rows), 'row')} written, run the same again for the rest"

    with session.output.progress("Importing", len(rows)) as advance:

        async def note(row: "PlannedRow") -> None:
            written.append(row)
            await session.audit("tenant.import", _subject(row), ", ".join(row.change.columns), in_all=False)
            advance()

        try:
            return written, await tenants.carry_out(rows, note)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error} ({done()})") from error.__cause__
        except asyncio.CancelledError:
            click.echo(f"Interrupted: {done()}", err=True)
            raise
        finally:
            if written:
                await session.audit("tenant.import", "", f"{len(written)} rows")


def _subject(row: "PlannedRow") -> str:
    return f"{row.record.tenant}/{row.record.version.value}"


def _fields(row: "PlannedRow") -> Fields:
    record = row.record
    return {
        "line": record.line,
        "tenant_id": record.tenant,
        "version": record.version.value,
        "columns": ", ".join(row.change.columns),
    }
