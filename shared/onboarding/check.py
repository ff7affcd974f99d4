"""The onboarding check: the app's calls against one provider with its real credential, and a report on them."""

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
from shared.onboarding import app_call
from shared.onboarding.app_call import AppCall, Pairs, Resource
from shared.onboarding.probe import CallResult, Probe
from shared.onboarding.problem import Problem, ProblemKind
from shared.onboarding.report import BatchReport, PagingReport, Report, ResourceReport, StatementReport, Status
from shared.onboarding.section import OnStep, Section, field_reports

_CANDIDATES = (("_count", "10"),)
_ONE = ("_count", "1")
_MAX_PAGES = 5
# Only the published interface's index names it; its page reads medications as MedicationRequest.
_SPARE = frozenset({"MedicationStatement"})
_VERSION = re.compile(r"[0-9]{1,2}(\.[0-9]{1,3}){1,2}(-[A-Za-z0-9.]{1,20})?")
_FORMAT = re.compile(r"[A-Za-z0-9.+/-]{1,60}")


@dataclass(frozen=True, slots=True)
class _Searched:
    """A type's report, its search if that works, and the resources it found."""

    report: ResourceReport
    search: Pairs = ()
    found: Sequence[Resource] = ()


async def check(probe: Probe, *, patient_id: str | None = None, on_step: OnStep = lambda step: None) -> Report:
    """Plays the app's calls and reports on them; `on_step` is called with each call as it ends.

    Without `patient_id`, which must be a FHIR id (ValueError), the first patient the server lists is the test patient.
    Raises StoreUnavailable when the vault does not give the provider's credential.
    """
    if patient_id is not None and not app_call.is_id(patient_id):
        raise ValueError("the patient's id is no FHIR id")
    return await _Check(probe, on_step).run(patient_id)


class _Check:
    def __init__(self, probe: Probe, on_step: OnStep) -> None:
        self._probe = probe
        self._provider = probe.provider
        self._version = probe.provider.version
        self._section = partial(Section, probe, on_step)
        self._declared: frozenset[str] | None = None

    async def run(self, patient_id: str | None) -> Report:
        statement = await self._statement()
        patient = await self._patient(patient_id)
        types = [interface for interface in INTERFACE[self._version] if interface.type not in ("Patient", "Location")]
        chart = [_Searched(ResourceReport(interface.type, Status.UNCHECKED)) for interface in types]
        location = ResourceReport("Location", Status.UNCHECKED)
        if patient.found:
            id = str(patient.found[0]["id"])
            chart = await asyncio.gather(*(self._chart(interface, id) for interface in types))
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
        section = self._section("statement")
        result = await section.require(app_call.statement())
        if result.problem is not None:
            return StatementReport(tuple(section.calls), "", (), tuple(section.problems))
        statement = result.document
        version = _matching(_VERSION, statement.get("fhirVersion"))
        if not f"{version}.".startswith(f"{self._version.release}."):
            section.add(ProblemKind.WRONG_VERSION, section.calls[0].call, version or "of an unknown version")
        listed = statement.get("format")
        formats = [_matching(_FORMAT, item) for item in listed] if isinstance(listed, list) else []
        if not any(item.lower() == "json" or media_type_format(item) is FhirFormat.JSON for item in formats):
            section.add(ProblemKind.JSON_NOT_DECLARED, section.calls[0].call)
        self._declared = frozenset(
            _matching(_FORMAT, resource.get("type"))
            for rest in _objects(statement.get("rest"))
            for resource in _objects(rest.get("resource"))
        )
        return StatementReport(tuple(section.calls), version, tuple(filter(None, formats)), tuple(section.problems))

    async def _patient(self, patient_id: str | None) -> _Searched:
        """The report on Patient; what is found is the test patient, and after it others that the server lists."""
        (interface,) = (interface for interface in INTERFACE[self._version] if interface.type == "Patient")
        section = self._section("Patient")
        if not self._lets_through(section):
            return _Searched(self._report(section))
        listed: list[Resource] = []
        if patient_id is None:
            candidates = app_call.search("Patient", _CANDIDATES)
            result = await section.require(candidates, times=1)
            listed = _matches(result.document, "Patient")
            if not listed:
                if result.problem is None or result.problem.kind in (ProblemKind.REFUSED, ProblemKind.GET_REFUSED):
                    section.add(ProblemKind.NO_PATIENT, candidates.label)
                section.mark_essential(result)
                return _Searched(self._report(section))
            patient_id = str(listed[0]["id"])
        result = await section.send(app_call.read("Patient", patient_id))
        section.mark_essential(result)
        if result.problem is not None and result.problem.kind is ProblemKind.NOT_FOUND and not listed:
            section.add(ProblemKind.NO_PATIENT, result.problem.call)  # it may be the ID that is wrong
            return _Searched(self._report(section))
        if result.problem is not None:
            section.problems.append(result.problem)
        patient: Resource = {**(result.document or (listed[0] if listed else {})), "id": patient_id}
        first, *others = app_call.patient_searches(self._version, interface, patient)
        main = await self._find(section, first, patient_id)
        section.mark_essential(main)
        for pairs in others:
            await self._find(section, pairs, patient_id)
        seen = listed or ([patient] if result.document else [])
        self._check_bundle(section, main)
        return _Searched(self._report(section, interface, main, seen), found=seen or [patient])

    async def _find(self, section: Section, pairs: Pairs, patient_id: str) -> CallResult:
        """A search by form, which has to find the test patient."""
        call = app_call.search_by_form("Patient", pairs)
        result = await section.send(call)
        found = {patient["id"] for patient in _matches(result.document, "Patient")}
        if result.problem is None and patient_id not in found and not _next(result.document):
            result = replace(result, problem=Problem(ProblemKind.NOT_AMONG_RESULTS, call.label))
        if result.problem is not None:
            section.problems.append(result.problem)
        return result

    async def _chart(self, interface: ResourceInterface, patient_id: str) -> _Searched:
        section = self._section(interface.type)
        if not self._lets_through(section):
            return _Searched(self._report(section))
        pairs = app_call.chart_search(self._version, interface, patient_id)
        result = main = await section.send(app_call.search(section.name, pairs))
        if main.problem is not None and main.problem.kind is ProblemKind.REFUSED:
            unsorted = app_call.without_sort(pairs)
            if unsorted != pairs:
                result = await section.send(app_call.search(section.name, unsorted))
                if result.problem is None:
                    main = replace(main, problem=Problem(ProblemKind.SORT_REFUSED, main.problem.call))
        if main.problem is not None:
            section.problems.append(main.problem)
        section.mark_essential(main)
        found = _matches(result.document, section.name)
        if found:
            await section.require(app_call.read(section.name, str(found[0]["id"])))
        elif result.problem is None:
            section.add(ProblemKind.NO_ENTRIES)
        self._check_bundle(section, result)
        works = pairs if main.problem is None else ()
        return _Searched(self._report(section, interface, result, found), works, found)

    def _check_bundle(self, section: Section, result: CallResult) -> None:
        """Notes other defects of a search that worked: no total, and links to another base."""
        if result.problem is not None:
            return
        call = section.calls[0].call
        if not isinstance(result.document.get("total"), int):
            asked = self._provider.accurate_total
            section.add(ProblemKind.TOTAL_NOT_GIVEN if asked else ProblemKind.NO_TOTAL, call)
        urls = [entry.get("fullUrl") for entry in _objects(result.document.get("entry"))]
        absolute = [url for url in urls if isinstance(url, str) and url.lower().startswith(("http://", "https://"))]
        if any(self._probe.own(url) is None for url in absolute):
            section.add(ProblemKind.BASE_ELSEWHERE, call)

    async def _location(self, chart: Sequence[_Searched]) -> ResourceReport:
        section = self._section("Location")
        if not self._lets_through(section):
            return self._report(section)
        encounters = [found for searched in chart if searched.report.type == "Encounter" for found in searched.found]
        references = [reference for encounter in encounters for reference in _location_references(encounter)]
        id = next((id for reference in references if (id := self._location_id(reference))), None)
        if id is not None:
            section.mark_essential(await section.require(app_call.read("Location", id)))
        elif encounters:
            section.add(ProblemKind.REFERENCE_ELSEWHERE if references else ProblemKind.NO_LOCATION)
        return self._report(section)

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
            app_call.search(searched.report.type, searched.search)
            for searched in chart
            if searched.search and not searched.report.spare
        ]
        if mode is BatchMode.SPLIT or not searches:
            return BatchReport(mode)
        section = self._section("batch")
        call = app_call.batch(self._version, searches)
        result = await section.send(call)
        entries = _objects(result.document.get("entry"))
        if result.problem is not None:
            section.add(ProblemKind.BATCH_UNSUPPORTED, call.label, result.problem.text)
        elif len(entries) != len(searches) or not all(map(_is_search_set, entries)):
            section.add(ProblemKind.BATCH_UNSUPPORTED, call.label, "not every entry was answered with a search set")
        return BatchReport(mode, tuple(section.calls), tuple(section.problems))

    async def _paging(self, patient: _Searched, chart: Sequence[_Searched]) -> PagingReport:
        section = self._section("paging")
        firsts = []
        if len(patient.found) > 1:
            firsts.append((app_call.search_by_form("Patient", (_ONE,)), len(patient.found)))
        long = [searched for searched in chart if searched.search and len(searched.found) > 1]
        if long:
            pairs = (*(pair for pair in long[0].search if pair[0] != "_count"), _ONE)
            firsts.append((app_call.search(long[0].report.type, pairs), len(long[0].found)))
        if not firsts:
            if patient.found:
                section.add(ProblemKind.NO_PAGES)
            return PagingReport(problems=tuple(section.problems))
        pages = sum([await self._pages(section, first, known) for first, known in firsts])
        return PagingReport(pages, tuple(section.calls), tuple(section.problems))

    async def _pages(self, section: Section, first: AppCall, known: int) -> int:
        """Follows a search of `known` entries, one a page, for five pages at most; returns the number of pages."""
        call, seen = first, 0
        for page in range(1, _MAX_PAGES + 1):
            result = await section.require(call, times=1)
            if result.problem is not None:
                return page - 1
            entries = len(_matches(result.document, first.interaction.type or ""))
            seen += entries
            if entries > 1:
                section.add(ProblemKind.COUNT_IGNORED, call.label)
                return page
            link = _next(result.document)
            if link is None:
                if seen < known:
                    section.add(ProblemKind.PAGES_END_EARLY, call.label)
                return page
            url = self._probe.followed(link, call)
            if url is None:
                section.add(ProblemKind.PAGE_ELSEWHERE, call.label)
                return page
            call = app_call.further_page(first, url)
        return _MAX_PAGES

    def _lets_through(self, section: Section) -> bool:
        if section.name in self._provider.types:
            return True
        section.add(ProblemKind.NOT_LET_THROUGH, detail=section.name)
        return False

    def _report(
        self,
        section: Section,
        interface: ResourceInterface | None = None,
        search: CallResult | None = None,
        found: Sequence[Resource] = (),
    ) -> ResourceReport:
        """The report on a type, with the result of its search and the resources whose fields count."""
        searched = search is not None and search.problem is None
        return ResourceReport(
            section.name,
            section.status(self._declared),
            section.name in _SPARE,
            tuple(section.calls),
            len(found),
            isinstance(search.document.get("total"), int) if search is not None and searched else None,
            field_reports(interface, found) if interface is not None else (),
            tuple(section.problems),
        )


def _matches(bundle: Resource, type: str) -> list[Resource]:
    """The resources of a type in a search set, those that can be read again."""
    resources = [_object(entry.get("resource")) for entry in _objects(bundle.get("entry"))]
    return [found for found in resources if found.get("resourceType") == type and app_call.is_id(found.get("id"))]


def _next(bundle: Resource) -> str | None:
    links = _objects(bundle.get("link"))
    urls = (link.get("url") for link in links if link.get("relation") == "next")
    return next((url for url in urls if isinstance(url, str) and url.strip()), None)


def _is_search_set(entry: Resource) -> bool:
    """Whether an entry of a batch-response has a search set."""
    resource, response = _object(entry.get("resource")), _object(entry.get("response"))
    return resource.get("resourceType") == "Bundle" and str(response.get("status")).startswith("2")


def _location_references(encounter: Resource) -> Iterator[str]:
    for place in _objects(encounter.get("location")):
        reference = _object(place.get("location")).get("reference")
        if isinstance(reference, str) and not reference.startswith("#"):
            yield reference


def _object(item: object) -> Resource:
    return item if isinstance(item, dict) else {}


def _objects(items: object) -> list[Resource]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _matching(pattern: re.Pattern[str], value: object) -> str:
    """The provider's own text if it has the expected form, and so can hold nothing of a patient; else ""."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""
