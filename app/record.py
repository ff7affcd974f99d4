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


def read_record(client: AppClient, given: str, family: str, note: Note) -> PatientRecord:
    """Finds a patient by name, and reads the whole chart. Raises AppError."""
    patients = resources(client.search_patients({"given": given, "family": family}), "Patient")
    if not patients:
        raise AppError(f"search: there is no patient {given} {family}")
    note(f"search       {len(patients)} found")
    id = str(patients[0]["id"])
    patient = client.call("GET", f"Patient/{id}")
    searches = client.dialect.chart_searches(id)
    entries = client.batch(searches)
    note(f"batch        {len(searches)} searches in one request")
    bundles = {type: batch_result(type, entry) for type, entry in zip(searches, entries, strict=True)}
    chart = {type: _all_pages(client, type, bundle, note) for type, bundle in bundles.items()}
    places = (place["location"] for encounter in chart["Encounter"][:1] for place in encounter.get("location", ()))
    reference = next((place["reference"] for place in places if "reference" in place), None)
    location = client.call("GET", reference) if reference else None
    note("read         the patient" + (", the last known location" if location else ""))
    return PatientRecord(patient, chart, location)


def _all_pages(client: AppClient, type: str, first: Resource, note: Note) -> list[Resource]:
    pages = [first, *client.further_pages(first)]
    found = [resource for page in pages for resource in resources(page, type)]
    if len(found) != first.get("total", len(found)):
        raise AppError(f"{type}: {first['total']} were found, {len(found)} came")
    if len(pages) > 1:
        note(f"next         {len(pages) - 1} further pages of {type}")
    return found
