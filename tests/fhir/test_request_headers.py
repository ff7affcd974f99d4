import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.fhir.interaction import PRECONDITIONS, Interaction, InteractionKind
from shared.fhir.policy import Permissions
from shared.fhir.request_headers import forwarded_headers
from shared.fhir.rewriting import LinkMap
from shared.fhir.versions import FhirVersion

LINKS = LinkMap(("https://gateway.example/r4",), "https://provider.example/fhir")
READ = Interaction(InteractionKind.READ, "Patient/1", "Patient", "1")
CREATE = Interaction(InteractionKind.CREATE, "Patient", "Patient")
WRITER = Permissions(frozenset({"Patient"}), write=True, version=FhirVersion.R4)
PROVENANCE_WRITER = Permissions(frozenset({"Patient", "Provenance"}), write=True, version=FhirVersion.R4)


def up(interaction: Interaction = READ, permissions: Permissions = WRITER, **headers: str) -> dict[str, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return forwarded_headers(sent, interaction, permissions, LINKS)


def refused(interaction: Interaction, permissions: Permissions = WRITER, **headers: str) -> FhirError:
    with pytest.raises(FhirError) as caught:
        up(interaction, permissions, **headers)
    return caught.value


@given(st.dictionaries(st.sampled_from(["host", "cookie", "authorization", "x-forwarded-host", "x"]), st.text()))
def test_what_is_not_named_does_not_go_up(headers: dict[str, str]) -> None:
    assert forwarded_headers(headers, READ, WRITER, LINKS) == {}


@pytest.mark.parametrize("name", PRECONDITIONS)
@pytest.mark.parametrize("value", ["identifier=\u00dcber", "\udcff", "a\r\nb", "\0", "\x7f"])
def test_a_precondition_that_can_not_be_sent_is_a_bad_request(name: str, value: str) -> None:
    error = refused(CREATE, **{name: value})
    assert error.status == 400
    assert value not in error.diagnostics
    assert up(CREATE, **{name: "W/1"}) == {name: "W/1"}


# Prefer goes up without respond-async, Cache-Control only where it forbids a response from memory.
@pytest.mark.parametrize(
    ("name", "asked", "sent"),
    [
        ("prefer", "respond-async", None),
        ("prefer", "Respond-Async, return=minimal", "return=minimal"),
        ("prefer", "return=representation,respond-async; wait=10", "return=representation"),
        ("prefer", 'x="respond-async, y", handling=strict', 'x="respond-async, y", handling=strict'),
        ("prefer", "respond-asynchronously", "respond-asynchronously"),
        ("prefer", "\u00fc", None),
        ("cache-control", "no-cache", "no-cache"),
        ("cache-control", "No-Store , max-age=0", "no-store"),
        ("cache-control", "no-cache,no-store", "no-cache, no-store"),
        ("cache-control", "only-if-cached", None),
    ],
)
def test_what_a_header_asks_for_goes_up_as_far_as_it_can_be_had(name: str, asked: str, sent: str | None) -> None:
    assert up(**{name: asked}).get(name) == sent


def provenance(*references: str) -> str:
    return json.dumps({"resourceType": "Provenance", "entity": [{"what": {"reference": each}} for each in references]})


def test_a_provenance_goes_up_where_it_may_be_created_with_its_links_mapped() -> None:
    given = provenance("https://gateway.example/r4/Patient/1", "https://elsewhere.example/\u00fc")
    sent = up(CREATE, PROVENANCE_WRITER, x_provenance=given)["x-provenance"]
    assert sent.isascii()
    assert sent == provenance("https://provider.example/fhir/Patient/1", "https://elsewhere.example/\u00fc").replace(
        " ", ""
    )
    assert up(READ, PROVENANCE_WRITER, x_provenance=given) == {}


@pytest.mark.parametrize(
    ("permissions", "value", "status"),
    [
        (WRITER, provenance("Patient/1"), 403),
        (Permissions(frozenset({"Provenance", "Patient"}), version=FhirVersion.R4), provenance("Patient/1"), 403),
        (PROVENANCE_WRITER, provenance("Practitioner?name=x"), 403),
        (PROVENANCE_WRITER, '{"resourceType":"Patient"}', 400),
        (PROVENANCE_WRITER, "[" * 100_000, 400),
        (PROVENANCE_WRITER, "", 400),
    ],
)
def test_a_provenance_that_may_not_be_created_is_refused(permissions: Permissions, value: str, status: int) -> None:
    assert refused(CREATE, permissions, x_provenance=value).status == status
