"""One part of the check as it grows: the calls that were made for it and what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from shared.onboarding.probe import Answer, Probe
from shared.onboarding.problem import Problem, ProblemKind
from shared.onboarding.question import Question
from shared.onboarding.report import SLOW_MILLISECONDS, CallReport, Standing

_REPEATS = 3
_PATIENCE_MILLISECONDS = 6000  # a call that has taken so long by now has shown what it takes

_STANDINGS = {
    ProblemKind.CREDENTIAL_REFUSED: Standing.REFUSED,
    ProblemKind.FORBIDDEN: Standing.REFUSED,
    ProblemKind.REFUSED: Standing.REFUSED,
    ProblemKind.SORT_REFUSED: Standing.REFUSED,
    ProblemKind.NOT_FOUND: Standing.MISSING,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A call that has ended: `part` is "statement", a resource type, "batch" or "paging"."""

    part: str
    call: CallReport


OnStep = Callable[[Step], None]


class Part:
    """The calls and problems of one part of a report."""

    def __init__(self, probe: Probe, on_step: OnStep, name: str) -> None:
        self.name = name
        self.calls: list[CallReport] = []
        self.problems: list[Problem] = []
        self._probe = probe
        self._on_step = on_step
        self._essential: list[Answer] = []

    async def ask(self, question: Question, times: int = _REPEATS) -> Answer:
        """The last answer to a question asked so many times, with the median of the times it took.

        One that fails, or has taken six seconds in all, is not asked again.
        """
        answers = [await self._probe.ask(question)]
        while len(answers) < times and answers[-1].problem is None:
            if sum(answer.milliseconds for answer in answers) > _PATIENCE_MILLISECONDS:
                break
            answers.append(await self._probe.ask(question))
        last, milliseconds = answers[-1], median(answer.milliseconds for answer in answers)
        call = CallReport(
            question.label, last.problem is None, last.status, last.media_type, milliseconds, len(answers)
        )
        self.calls.append(call)
        self._on_step(Step(self.name, call))
        return replace(last, milliseconds=milliseconds)

    async def require(self, question: Question, times: int = _REPEATS) -> Answer:
        """As `ask`; the answer's problem is the part's."""
        answer = await self.ask(question, times)
        if answer.problem is not None:
            self.problems.append(answer.problem)
        return answer

    def add(self, kind: ProblemKind, call: str = "", detail: str = "") -> None:
        """Notes a problem."""
        self.problems.append(Problem(kind, call, detail))

    def hang_on(self, answer: Answer) -> None:
        """Lets the part's standing hang on this answer."""
        self._essential.append(answer)

    def standing(self, declared: frozenset[str] | None) -> Standing:
        """How the part stands by the answers it hangs on; `declared` are the statement's types, if there are any.

        A call that is refused for a type the statement does not declare counts as missing: servers differ in the
        status they have for that.
        """
        if not self._essential:
            return Standing.UNCHECKED
        problem = next((answer.problem for answer in self._essential if answer.problem is not None), None)
        if problem is None:
            slow = any(answer.milliseconds > SLOW_MILLISECONDS for answer in self._essential)
            return Standing.SLOW if slow else Standing.WORKS
        if problem.kind is ProblemKind.REFUSED and declared is not None and self.name not in declared:
            return Standing.MISSING
        return _STANDINGS.get(problem.kind, Standing.FAILED)
