"""What a check found: one line each, with what to do about it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

import click

from admin.output import Output, printable


class State(StrEnum):
    """How a check ended. `SKIPPED`: there was nothing to check it on."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject` is what was looked at, `fix` what a person can do: "" when there is nothing to do."""

    state: State
    subject: str
    text: str
    fix: str = ""


_COLORS: Mapping[State, str] = {
    State.OK: "green",
    State.WARN: "yellow",
    State.FAIL: "red",
    State.SKIPPED: "bright_black",
}


class Findings:
    """Prints findings as they come, or as JSON at the end; then ends the command, with 1 if one is a failure."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._all: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Takes the next finding."""
        self._all.append(finding)
        if self._as_json:
            return
        state = click.style(f"{finding.state.value:<5}", fg=_COLORS[finding.state])
        click.echo(f"{state} {finding.subject:<14} {printable(finding.text)}")
        if finding.fix:
            click.echo(f"{'':<20} fix: {printable(finding.fix)}")

    def end(self) -> None:
        """Ends the command."""
        if self._as_json:
            Output(as_json=True).records([asdict(finding) for finding in self._all], ())
        click.get_current_context().exit(any(finding.state is State.FAIL for finding in self._all))
