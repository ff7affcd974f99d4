"""The demo: the app reads a patient's chart at every tenant, and shows it."""

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median

import requests
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.chart import chart
from app.client import AppClient, AppError, Timing, read_record, read_statement, request_token
from app.render import render
from local import demo_file
from local.demo_file import Demo, DemoTenant


def play(file: Path, tenant_name: str | None, patient: Sequence[str]) -> int:
    """Plays the app with what `file` holds, for all tenants or those of a name; the exit code."""
    console = Console(highlight=False)
    try:
        demo = demo_file.read(file)
        if demo is None:
            raise AppError("start it first: make run")
        tenants = [tenant for tenant in demo.tenants if _is_named(tenant, tenant_name)]
        if not tenants:
            names = ", ".join(tenant.name for tenant in demo.tenants)
            raise AppError(f"there is no tenant {tenant_name}: there are {names}")
        timings = {tenant: _read_chart(console, demo, tenant, *patient) for tenant in tenants}
    except AppError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    console.print(_timings(timings))
    return 0


def _is_named(tenant: DemoTenant, name: str | None) -> bool:
    return name is None or name.lower() == tenant.version or name.lower() in tenant.name.lower()


def _read_chart(console: Console, demo: Demo, tenant: DemoTenant, given: str, family: str) -> Timing:
    def note(text: str) -> None:
        console.print(Text(f"  {text}", "dim"), soft_wrap=True)

    console.print(Text(f"{tenant.name}, {tenant.base}", "bold"), soft_wrap=True)
    try:
        with requests.Session() as session:
            # Requests to this machine go through no proxy.
            session.trust_env = False
            statement = read_statement(session, tenant.base)
            note(f"statement    FHIR {statement.fhir_version}, token URL {statement.token_url}")
            credentials = (demo.client_id, demo.client_secret)
            token = request_token(session, statement.token_url, credentials, tenant.tenant_id)
            note(f"token        for {tenant.tenant_id}, good for {token.expires_in} s")
            client = AppClient(session, tenant.base, statement.dialect, token.value)
            found = chart(read_record(client, given, family, note))
    except requests.ConnectionError:
        raise AppError(f"{demo.base_url} does not answer. Start it first: make run") from None
    except (AppError, requests.RequestException) as error:
        raise AppError(f"{tenant.name}: {error}") from None
    hospital, missing = found.patient["hospital"], found.missing()
    if hospital != tenant.name:
        raise AppError(f"{tenant.name}: the chart came from {hospital or 'nowhere'}")
    if missing:
        raise AppError(f"{tenant.name}: missing in the chart: {', '.join(missing)}")
    console.print(render(found, statement.dialect.version, date.today()))
    return client.timing


def _timings(timings: dict[DemoTenant, Timing]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title="FHIR requests, ms", title_justify="left")
    table.add_column("Tenant", no_wrap=True)
    for column in ("requests", "waited", "gateway's own", "median own"):
        table.add_column(column, justify="right", no_wrap=True)
    for tenant, timing in timings.items():
        numbers = (timing.waited, sum(timing.own), median(timing.own))
        table.add_row(tenant.name, str(len(timing.own)), *(f"{number:.1f}" for number in numbers))
    return table
