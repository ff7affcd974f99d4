"""`upkeep`: does now what the timer function does every night."""

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import click

from admin.command import CouldNotRun, examples, with_session
from admin.output import Columns
from admin.session import Session


@click.command(epilog=examples("upkeep", "upkeep --json"))
@with_session
async def upkeep(session: Session) -> None:
    """Checks all hospitals, deletes what has expired, and names secrets and certificates that end within 30 days.

    The timer function of the portal's app does the same every night. It may be run at any time, and again. Hospitals
    that the managed identity opens are not checked.
    """
    from shared.audit import AuditLog
    from shared.upkeep import Upkeep

    work, progress = Upkeep(session.settings, session.table, session.vault, AuditLog()), session.output.progress
    outcome = await work.run(session.actor, datetime.now(UTC), progress=partial(progress, "Checking hospitals"))
    not_checked = {
        "the managed identity opens their servers": outcome.managed_identity,
        "their row can't be used": outcome.unusable,
        "the check could not run": outcome.not_run,
    }
    reasons = [f"{number} because {reason}" for reason, number in not_checked.items() if number]
    session.output.result(
        asdict(outcome),
        f"{outcome.checked} hospitals are checked, {outcome.not_loading} will not load, {outcome.unfinished} took too "
        f"long{'; not checked: ' + ', '.join(reasons) if reasons else ''}. {sum(outcome.deleted.values())} expired "
        f"rows are deleted. {len(outcome.expiring)} secrets or certificates end within 30 days.",
    )
    if outcome.expiring and not session.output.as_json:
        session.output.records(list(map(asdict, outcome.expiring)), Columns(("subject", "name", "expires")))
    if outcome.failed:
        raise CouldNotRun(f"failed: {', '.join(outcome.failed)}; the rest is done, run the same again")
