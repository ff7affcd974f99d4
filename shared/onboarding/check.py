"""The onboarding check: the app's calls against one provider with its real credential, and what came of them."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from shared.directory.provider import BatchMode
from shared.fhir.errors import FhirError
from shared.fhir.interaction import parse
from shared.fhir.interface import INTERFACE, ResourceInterface
from shared.fhir.negotiation import media_type_format
from shared.fhir.versions import FhirFormat
from shared.onboarding import question as questions
from shared.onboarding.fields import field_reports
from shared.onboarding.part import OnStep, Part
from shared.onboarding.probe import Answer, Probe
from shared.onboarding.problem import Problem, ProblemKind
from shared.onboarding.question import Pairs, Question, Resource
from shared.onboarding.report import (
    BatchReport,
    PagingReport,
    Report,
    ResourceReport,
    Standing,
    StatementReport,
)

_CANDIDATES = (("_count", "10"),)
_ONE = ("_count", "1")
_MOST_PAGES = 5
# Only the published interface's index names it; its page reads medications as MedicationRequest.
_SPARE = frozenset({"MedicationStatement"})
_VERSION = re.compile(r"[0-9]{1,2}(\.[0-9]{1,3}){1,2}(-[A-Za-z0-9.]{1,20})?")
_FORMAT = re.compile(r"[A-Za-z0-9.+/-]{1,60}")


@dataclass(frozen=True, slots=True)
class _Searched:
    """A type's report, its search if that works, and what the search found."""

    report: ResourceReport
    search: Pairs = ()
    found: Sequence[Resource] = ()


async def check(probe: Probe, *, patient_id: str | None = None, on_step: OnStep = lambda step: None) -> Report:
    """Plays the app's calls and reports on them; `on_step` hears of each call as it ends.

    Without `patient_id`, which must be a FHIR id (ValueError), the first patient the server lists is the test patient.
    Raises StoreUnavailable when the vault does not give the provider's credential.
    """
    if patient_id is not None and not questions.is_id(patient_id):
        raise ValueError("the patient's id is no FHIR id")
    return await _Check(probe, on_step).run(patient_id)


class _Check:
    def __init__(self, probe: Probe, on_step: OnStep) -> None:
        self._probe = probe
        self._provider = probe.provider
        self._version = probe.provider.version
        self._part = partial(Part, probe, on_step)
        self._declared: frozenset[str] | None = None

    async def run(self, patient_id: str | None) -> Report:
        statement = await self._statement()
        patient = await self._patient(patient_id)
        chart, location = self._unchecked(), ResourceReport("Location", Standing.UNCHECKED)
        if patient.found:
            id = str(patient.found[0]["id"])
            chart = await asyncio.gather(*(self._chart(interface, id) for interface in self._charted()))
            location = await self._location(chart)
        resources = {searched.report.type: searched.report for searched in (patient, *chart)} | {"Location": location}
        return Report(
            self._provider.tenant,
            self._provider.name,
            self._version,
            statement,
            tuple(resources[interface.type] for interface in INTERFACE[self._version]),
            await self._batch(chart),
            await self._paging(patient, chart),
        )

    async def _statement(self) -> StatementReport:
        part = self._part("statement")
        answer = await part.require(questions.statement())
        if answer.problem is not None:
            return StatementReport(tuple(part.calls), "", (), tuple(part.problems))
        statement = answer.document
        version = _matching(_VERSION, statement.get("fhirVersion"))
        if not f"{version}.".startswith(f"{self._version.release}."):
            part.add(ProblemKind.WRONG_VERSION, part.calls[0].call, version or "of an unknown version")
        listed = statement.get("format")
        formats = [_matching(_FORMAT, item) for item in listed] if isinstance(listed, list) else []
        if not any(item.lower() == "json" or media_type_format(item) is FhirFormat.JSON for item in formats):
            part.add(ProblemKind.JSON_NOT_DECLARED, part.calls[0].call)
        self._declared = frozenset(
            _matching(_FORMAT, resource.get("type"))
            for rest in _objects(statement.get("rest"))
            for resource in _objects(rest.get("resource"))
        )
        return StatementReport(tuple(part.calls), version, tuple(filter(None, formats)), tuple(part.problems))

    async def _patient(self, patient_id: str | None) -> _Searched:
        """The report on Patient; what is found is the test patient, and after it others that the server lists."""
        (interface,) = (interface for interface in INTERFACE[self._version] if interface.type == "Patient")
        part = self._part("Patient")
        if not self._lets_through(part):
            return _Searched(self._report(part))
        listed: list[Resource] = []
        if patient_id is None:
            candidates = questions.search("Patient", _CANDIDATES)
            answer = await part.require(candidates, times=1)
            listed = _matches(answer.document, "Patient")
            if not listed:
                if answer.problem is None or answer.problem.kind is ProblemKind.REFUSED:
                    part.add(ProblemKind.NO_PATIENT, candidates.label)
                part.hang_on(answer)
                return _Searched(self._report(part))
            patient_id = str(listed[0]["id"])
        answer = await part.require(questions.read("Patient", patient_id))
        part.hang_on(answer)
        patient: Resource = {**(answer.document or (listed[0] if listed else {})), "id": patient_id}
        first, *others = questions.patient_searches(self._version, interface, patient)
        main = await self._find(part, first, patient_id)
        part.hang_on(main)
        for pairs in others:
            await self._find(part, pairs, patient_id)
        seen = listed or ([patient] if answer.document else [])
        self._look_at(part, main)
        return _Searched(self._report(part, interface, main, seen), found=seen or [patient])

    async def _find(self, part: Part, pairs: Pairs, patient_id: str) -> Answer:
        """A search by form, which has to find the test patient."""
        question = questions.search_by_form("Patient", pairs)
        answer = await part.ask(question)
        found = {patient["id"] for patient in _matches(answer.document, "Patient")}
        if answer.problem is None and patient_id not in found and not _next(answer.document):
            answer = replace(answer, problem=Problem(ProblemKind.NOT_AMONG_RESULTS, question.label))
        if answer.problem is not None:
            part.problems.append(answer.problem)
        return answer

    def _charted(self) -> Iterator[ResourceInterface]:
        return (interface for interface in INTERFACE[self._version] if interface.type not in ("Patient", "Location"))

    def _unchecked(self) -> list[_Searched]:
        return [_Searched(ResourceReport(interface.type, Standing.UNCHECKED)) for interface in self._charted()]

    async def _chart(self, interface: ResourceInterface, patient_id: str) -> _Searched:
        part = self._part(interface.type)
        if not self._lets_through(part):
            return _Searched(self._report(part))
        pairs = questions.chart_search(self._version, interface, patient_id)
        answer = main = await part.ask(questions.search(part.name, pairs))
        if main.problem is not None and main.problem.kind is ProblemKind.REFUSED:
            unsorted = questions.without_sort(pairs)
            if unsorted != pairs:
                answer = await part.ask(questions.search(part.name, unsorted))
                if answer.problem is None:
                    main = replace(main, problem=Problem(ProblemKind.SORT_REFUSED, main.problem.call))
        if main.problem is not None:
            part.problems.append(main.problem)
        part.hang_on(main)
        found = _matches(answer.document, part.name)
        if found:
            await part.require(questions.read(part.name, str(found[0]["id"])))
        elif answer.problem is None:
            part.add(ProblemKind.NO_ENTRIES)
        self._look_at(part, answer)
        works = pairs if main.problem is None else ()
        return _Searched(self._report(part, interface, answer, found), works, found)

    def _look_at(self, part: Part, answer: Answer) -> None:
        """What else may be amiss with the answer to a search."""
        if answer.problem is not None:
            return
        call = part.calls[0].call
        if not isinstance(answer.document.get("total"), int):
            part.add(ProblemKind.NO_TOTAL, call)
        urls = [entry.get("fullUrl") for entry in _objects(answer.document.get("entry"))]
        if any(_is_http(url) and self._probe.own(url) is None for url in urls if isinstance(url, str)):
            part.add(ProblemKind.BASE_ELSEWHERE, call)

    async def _location(self, chart: Sequence[_Searched]) -> ResourceReport:
        part = self._part("Location")
        if not self._lets_through(part):
            return self._report(part)
        encounters = [found for searched in chart if searched.report.type == "Encounter" for found in searched.found]
        references = [reference for encounter in encounters for reference in _location_references(encounter)]
        if not references:
            if encounters:
                part.add(ProblemKind.NO_LOCATION)
            return self._report(part)
        id = next((id for reference in references if (id := self._location_id(reference))), None)
        if id is None:
            part.add(ProblemKind.REFERENCE_ELSEWHERE)
            return self._report(part)
        part.hang_on(await part.require(questions.read("Location", id)))
        return self._report(part)

    def _location_id(self, reference: str) -> str | None:
        """The id of a Location on the provider's own server, by a relative or an absolute reference."""
        path = reference
        if "://" in reference:
            path = (self._probe.own(reference) or "").removeprefix(f"{self._provider.base_url}/")
        try:
            interaction = parse("GET", path, "", {})
        except FhirError:
            return None
        return interaction.id if interaction.type == "Location" else None

    async def _batch(self, chart: Sequence[_Searched]) -> BatchReport:
        mode = self._provider.batch
        searches = [
            questions.search(searched.report.type, searched.search)
            for searched in chart
            if searched.search and not searched.report.spare
        ]
        if mode is BatchMode.SPLIT or not searches:
            return BatchReport(mode)
        part = self._part("batch")
        question = questions.batch(self._version, searches)
        answer = await part.ask(question)
        if answer.problem is not None:
            part.add(ProblemKind.BATCH_UNSUPPORTED, question.label, answer.problem.text)
        elif not _answers_each(answer.document, len(searches)):
            part.add(ProblemKind.BATCH_UNSUPPORTED, question.label, "not every entry was answered with a search set")
        return BatchReport(mode, tuple(part.calls), tuple(part.problems))

    async def _paging(self, patient: _Searched, chart: Sequence[_Searched]) -> PagingReport:
        part = self._part("paging")
        firsts = []
        if len(patient.found) > 1:
            firsts.append((questions.search_by_form("Patient", (_ONE,)), len(patient.found)))
        long = [searched for searched in chart if searched.search and len(searched.found) > 1]
        if long:
            pairs = (*(pair for pair in long[0].search if pair[0] != "_count"), _ONE)
            firsts.append((questions.search(long[0].report.type, pairs), len(long[0].found)))
        if not firsts:
            if patient.found:
                part.add(ProblemKind.NO_PAGES)
            return PagingReport(problems=tuple(part.problems))
        pages = sum([await self._pages(part, first, known) for first, known in firsts])
        return PagingReport(pages, tuple(part.calls), tuple(part.problems))

    async def _pages(self, part: Part, first: Question, known: int) -> int:
        """Follows a search of `known` entries, one a page, for five pages at most; the number of pages that came."""
        question, came = first, 0
        for page in range(1, _MOST_PAGES + 1):
            answer = await part.require(question, times=1)
            if answer.problem is not None:
                return page - 1
            entries = len(_matches(answer.document, first.interaction.type or ""))
            came += entries
            if entries > 1:
                part.add(ProblemKind.COUNT_IGNORED, question.label)
                return page
            link = _next(answer.document)
            if link is None:
                if came < known:
                    part.add(ProblemKind.PAGES_END_EARLY, question.label)
                return page
            url = self._probe.followed(link, question)
            if url is None:
                part.add(ProblemKind.PAGE_ELSEWHERE, question.label)
                return page
            question = questions.further_page(first, url)
        return _MOST_PAGES

    def _lets_through(self, part: Part) -> bool:
        if part.name in self._provider.types:
            return True
        part.add(ProblemKind.NOT_LET_THROUGH, detail=part.name)
        return False

    def _report(
        self,
        part: Part,
        interface: ResourceInterface | None = None,
        search: Answer | None = None,
        found: Sequence[Resource] = (),
    ) -> ResourceReport:
        """The report on a type, with the answer to its search and the resources whose fields count."""
        searched = search is not None and search.problem is None
        return ResourceReport(
            part.name,
            part.standing(self._declared),
            part.name in _SPARE,
            tuple(part.calls),
            len(found),
            isinstance(search.document.get("total"), int) if search is not None and searched else None,
            field_reports(interface, found) if interface is not None else (),
            tuple(part.problems),
        )


def _matches(bundle: Resource, type: str) -> list[Resource]:
    """The resources of a type in a search set, those that can be read again."""
    resources = (entry.get("resource") for entry in _objects(bundle.get("entry")))
    return [
        resource
        for resource in resources
        if isinstance(resource, dict) and resource.get("resourceType") == type and questions.is_id(resource.get("id"))
    ]


def _next(bundle: Resource) -> str | None:
    links = _objects(bundle.get("link"))
    urls = (link.get("url") for link in links if link.get("relation") == "next")
    return next((url for url in urls if isinstance(url, str) and url.strip()), None)


def _answers_each(bundle: Resource, count: int) -> bool:
    """Whether a batch-response has a search set for each of `count` entries."""
    entries = _objects(bundle.get("entry"))
    return len(entries) == count and all(_is_search_set(entry) for entry in entries)


def _is_search_set(entry: Resource) -> bool:
    resource, response = entry.get("resource"), entry.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    found = isinstance(resource, dict) and resource.get("resourceType") == "Bundle"
    return found and isinstance(status, str) and status.startswith("2")


def _location_references(encounter: Resource) -> Iterator[str]:
    for place in _objects(encounter.get("location")):
        location = place.get("location")
        reference = location.get("reference") if isinstance(location, dict) else None
        if isinstance(reference, str) and not reference.startswith("#"):
            yield reference


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _objects(items: object) -> list[Resource]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _matching(pattern: re.Pattern[str], value: object) -> str:
    """The provider's own text, if it is of the expected form and so can hold nothing else."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""
