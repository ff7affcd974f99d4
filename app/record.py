"""The app: finds a patient, and reads everything for the chart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.client import AppClient, AppError, Resource, batch_result, resources

Note = Callable[[str], None]
"""Is told of each step, in a few words."""


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """Everything the app read about one patient; `resources` are by type, in the order they came."""

    patient: Resource
    resources: Mapping[str, Sequence[Resource]]
    location: Resource | None


class App:
    """The app at one hospital. Raises AppError."""

    def __init__(self, client: AppClient, note: Note) -> None:
        self._client = client
        self._note = note

    def read(self, given: str, family: str) -> PatientRecord:
        """Finds a patient by name, and reads the whole chart."""
        patients = resources(self._client.search_patients({"given": given, "family": family}), "Patient")
        if not patients:
            raise AppError(f"search: there is no patient {given} {family}")
        self._note(f"search       {len(patients)} found")
        id = str(patients[0]["id"])
        patient = self._client.call("GET", f"Patient/{id}")
        chart = self._chart(id)
        location = self._last_location(chart["Encounter"])
        self._note("read         the patient" + (", the last known location" if location else ""))
        return PatientRecord(patient, chart, location)

    def _chart(self, patient: str) -> dict[str, list[Resource]]:
        searches = self._client.dialect.chart_searches(patient)
        entries = self._client.batch(searches)
        self._note(f"batch        {len(searches)} searches in one request")
        bundles = [(type, batch_result(type, entry)) for type, entry in zip(searches, entries, strict=True)]
        return {type: self._all_pages(type, bundle) for type, bundle in bundles}

    def _all_pages(self, type: str, first: Resource) -> list[Resource]:
        pages = [first, *self._client.further_pages(first)]
        found = [resource for page in pages for resource in resources(page, type)]
        if len(found) != first.get("total", len(found)):
            raise AppError(f"{type}: {first['total']} were found, {len(found)} came")
        if len(pages) > 1:
            self._note(f"next         {len(pages) - 1} further pages of {type}")
        return found

    def _last_location(self, encounters: Sequence[Resource]) -> Resource | None:
        for encounter in encounters[:1]:
            for place in encounter.get("location", ()):
                if "reference" in place["location"]:
                    return self._client.call("GET", place["location"]["reference"])
        return None
