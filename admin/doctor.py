"""`doctor`: checks what the gateway and the command line need, and names the fix for each fault."""

import asyncio
import re
from collections.abc import Mapping

import click

from admin.command import GlobalOptions, examples, global_options
from admin.output import Finding, Findings, Output, State
from admin.session import open_session, read_environment
from shared.settings import SettingError, Settings

_REQUIRED: Mapping[str, str] = {
    "PUBLIC_BASE_URL": "https://gateway.example.com",
    "KEY_VAULT_URL": "https://example.vault.azure.net",
    "TABLES_ENDPOINT": "https://example.table.core.windows.net",
}


@click.command(epilog=examples("doctor", "doctor --local", "doctor --json"))
@global_options
def doctor() -> None:
    """Checks settings, permissions, clock, keys, rows and secrets, and names the fix for each fault.

    Changes nothing. Ends with 1 if something fails: the gateway, or you, can't do without it.
    """
    options = click.get_current_context().ensure_object(GlobalOptions)
    findings = Findings(as_json=options.json)
    asyncio.run(_examine(findings, local=options.local))
    findings.end()


async def _examine(findings: Findings, *, local: bool) -> None:
    # Imports what --help can do without.
    from admin.doctor_checks import examine_stores

    try:
        environment = read_environment(local=local)
        for finding in (wrong := _setting_findings(environment)):
            findings.add(finding)
        if wrong:
            return
        findings.add(Finding(State.OK, "settings", "all that are needed are there, and none is malformed"))
        async with open_session(Settings.from_environment(environment), Output(as_json=True)) as session:
            async for finding in examine_stores(session):
                findings.add(finding)
    except SettingError as error:
        findings.add(Finding(State.FAIL, "settings", str(error), "correct it, and run this again"))


def _setting_findings(environment: Mapping[str, str]) -> list[Finding]:
    """A failure for every setting that is missing or malformed. (Settings raises only the first.)"""
    findings: dict[str, Finding] = {}
    while True:
        try:
            Settings.from_environment(environment)
        except SettingError as error:
            name = re.split(r"\W", str(error))[0]
            if name in findings:
                return list(findings.values())
            good = _REQUIRED.get(name, "")
            fix = "correct it, or remove it for the default"
            fix = f"set it as the gateway has it, such as {good}" if good else fix
            findings[name] = Finding(State.FAIL, "settings", str(error), fix)
            environment = {**environment, name: good}
        else:
            return list(findings.values())
