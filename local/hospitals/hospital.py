"""The demo hospitals: what sets their FHIR servers apart."""

from collections.abc import Callable
from dataclasses import dataclass

from local.hospitals.credentials import BasicPassword, ClientSecret, Credential, SubscriptionKey
from local.hospitals.paging import ContinuationTokens, PageNumbers, Paging, StoredPages
from shared.fhir.versions import FhirVersion


@dataclass(frozen=True, slots=True)
class Hospital:
    """A hospital and the habits of its FHIR server.

    `key` names it in a credentials file and seeds its data; `ages` are its patients' ages in whole years;
    `credential` makes its way of authentication from the secrets it is given.
    """

    key: str
    name: str
    city: str
    version: FhirVersion
    base_path: str
    credential: Callable[..., Credential]
    paging: Callable[[], Paging]
    batch: bool
    mrn_prefix: str
    ages: range
    wards: tuple[str, ...]

    @property
    def mrn_system(self) -> str:
        """The identifier system of the hospital's medical record numbers."""
        return f"https://{self.key}.example.org/mrn"


RIVERSIDE = Hospital(
    key="riverside",
    name="Riverside General Hospital",
    city="Springfield",
    version=FhirVersion.DSTU2,
    base_path="/baseDstu2",
    credential=BasicPassword,
    paging=StoredPages,
    batch=True,
    mrn_prefix="RGH",
    ages=range(21, 92),
    wards=("Emergency Department", "Cardiology, Bed 4A", "Internal Medicine, Bed 12", "Surgery, Bed 7"),
)

LAKESIDE = Hospital(
    key="lakeside",
    name="Lakeside Medical Center",
    city="Madison",
    version=FhirVersion.STU3,
    base_path="/stu3/fhir",
    credential=ClientSecret,
    paging=ContinuationTokens,
    batch=True,
    mrn_prefix="LMC",
    ages=range(18, 95),
    wards=("Urgent Care", "Ward 2 West, Room 214", "Ward 3 East, Room 309", "Telemetry Unit, Room 5"),
)

NORTHGATE = Hospital(
    key="northgate",
    name="Northgate Children's Hospital",
    city="Aurora",
    version=FhirVersion.R4,
    base_path="/r4",
    credential=SubscriptionKey,
    paging=PageNumbers,
    batch=False,
    mrn_prefix="NCH",
    ages=range(1, 18),
    wards=("Pediatric Emergency", "Butterfly Ward, Room 3", "Starfish Ward, Room 11", "Day Clinic"),
)

HILLCREST = Hospital(
    key="hillcrest",
    name="Hillcrest Community Hospital",
    city="Salem",
    version=FhirVersion.R4B,
    base_path="/fhir/r4b",
    credential=BasicPassword,
    paging=ContinuationTokens,
    batch=False,
    mrn_prefix="HCH",
    ages=range(18, 90),
    wards=("Emergency Room", "Ward A, Room 11", "Ward B, Room 23", "Rehabilitation, Room 2"),
)

SEASIDE = Hospital(
    key="seaside",
    name="Seaside University Hospital",
    city="Portland",
    version=FhirVersion.R5,
    base_path="/R5",
    credential=SubscriptionKey,
    paging=StoredPages,
    batch=True,
    mrn_prefix="SUH",
    ages=range(18, 99),
    wards=("Acute Care", "Neurology, Room 512", "Oncology, Room 327", "Intensive Care, Bed 9"),
)

HOSPITALS = (RIVERSIDE, LAKESIDE, NORTHGATE, HILLCREST, SEASIDE)
