"""The examples that HL7 publishes with FHIR: of the interface's types, in each version."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.fhir.interface import types
from shared.fhir.versions import FhirVersion
from tests.clients import installation

_HERE = Path(__file__).parent
_PACKAGES = {version: f"hl7.fhir.{version.value}.examples" for version in FhirVersion}
_PACKAGES |= dict.fromkeys((FhirVersion.DSTU2, FhirVersion.STU3), "hl7.fhir.r3.examples")


def examples(version: FhirVersion) -> Iterator[dict[str, Any]]:
    """The examples of a version, with those inside its Bundles.

    No registry has DSTU2's: STU3's stand for them, of which a server of DSTU2 keeps what that version has.
    """
    installation.node(_HERE)
    dstu2 = version is FhirVersion.DSTU2
    seen = set[tuple[str, str]]()
    for path in sorted((_HERE / "node_modules" / _PACKAGES[version]).glob("*.json")):
        if path.name.partition("-")[0] not in types(version) | types(FhirVersion.STU3) | {"Bundle"}:
            continue
        document = json.loads(path.read_text())
        for resource in (document, *(entry.get("resource", {}) for entry in document.get("entry", ()))):
            type, id = resource.get("resourceType"), resource.get("id")
            if dstu2 and type == "MedicationRequest":
                type = resource["resourceType"] = "MedicationOrder"
            if type in types(version) and id and (type, id) not in seen:
                seen.add((type, id))
                yield resource
