import json
import random
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shared.fhir.document import run
from shared.fhir.errors import FhirError
from shared.fhir.interaction import Interaction, InteractionKind, parse
from shared.fhir.json_document import read
from shared.fhir.policy import Permissions, authorize, authorize_reference, check_response
from shared.fhir.scopes import Action, Scope, parse_scope
from shared.fhir.versions import FhirVersion

TYPES = frozenset({"Patient", "Observation", "Encounter", "Location", "MedicationRequest"})
READER = Permissions(TYPES, version=FhirVersion.R4)
WRITER = structs.replace(READER, write=True)


def scoped(*texts: str, write: bool = False) -> Permissions:
    scopes = tuple(scope for text in texts if (scope := parse_scope(text)))
    assert len(scopes) == len(texts)
    return structs.replace(READER, write=write, scopes=scopes)


def ask(method: str, path: str, query: str = "", permissions: Permissions = READER, criteria: str = "") -> None:
    headers = {"if-none-exist": criteria} if criteria else {}
    authorize(parse(method, path, query, headers), query, permissions)


def refused(*request: str, permissions: Permissions = READER, criteria: str = "") -> FhirError:
    with pytest.raises(FhirError) as caught:
        ask(*request, permissions=permissions, criteria=criteria)
    return caught.value


def passes(query: str, permissions: Permissions = READER) -> bool:
    try:
        ask("GET", "Encounter", query, permissions)
    except FhirError as error:
        if error.status not in (400, 403):
            raise
        return False
    return True


def resource(name: str, **members: object) -> dict[str, object]:
    return {"resourceType": name, **members}


def searchset(*resources: object) -> dict[str, object]:
    return resource("Bundle", type="searchset", entry=[{"resource": each} for each in resources])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "Patient/1"), ("HEAD", "Patient/1"), ("GET", "Patient/1/_history"), ("GET", "Patient/1/_history/2"),
        ("GET", "Patient"), ("POST", "Patient/_search"), ("GET", "Patient/1/Observation"),
    ],
)  # fmt: skip
def test_reading_an_included_type_is_let_through_and_another_is_not(method: str, path: str) -> None:
    ask(method, path)
    error = refused(method, path.replace("Patient", "Practitioner"))
    assert (error.status, error.code) == (403, "forbidden")
    assert error.diagnostics == "This tenant's access does not include Practitioner."


def test_both_types_of_a_compartment_search_must_be_included() -> None:
    assert "Procedure" in refused("GET", "Patient/1/Procedure").diagnostics
    assert "Device" in refused("GET", "Device/1/Observation").diagnostics
    assert "compartment" in refused("GET", "Patient/1/*").diagnostics


@pytest.mark.parametrize(
    "path", ["", "_search", "_history", "Patient/_history", "metadata", "$x", "Patient/1/$everything"]
)
def test_what_reaches_beyond_a_type_is_refused_to_all_each_with_its_reason(path: str) -> None:
    errors = [refused("GET", path, permissions=permissions) for permissions in (READER, WRITER, scoped("system/*.*"))]
    assert {error.status for error in errors} == {403}
    assert len({error.diagnostics for error in errors}) == 1


WRITES = [
    ("POST", "Patient", ""), ("PUT", "Patient/1", ""), ("PATCH", "Patient/1", ""), ("DELETE", "Patient/1", ""),
    ("PUT", "Patient", "identifier=1"), ("PATCH", "Patient", "identifier=1"), ("DELETE", "Patient", "identifier=1"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "query"), WRITES)
def test_writing_takes_write_access_to_an_included_type(method: str, path: str, query: str) -> None:
    ask(method, path, query, WRITER)
    assert "read-only" in refused(method, path, query).diagnostics
    other = refused(method, path.replace("Patient", "Practitioner"), query, permissions=WRITER)
    assert "Practitioner" in other.diagnostics


def test_scopes_narrow_to_their_types_and_actions() -> None:
    reader = scoped("system/Patient.rs", write=True)
    ask("GET", "Patient/1", permissions=reader)
    for method, path in (("GET", "Observation"), ("DELETE", "Patient/1")):
        error = refused(method, path, permissions=reader)
        assert error.status == 403
        assert "scopes" in error.diagnostics
        assert error.headers == {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}


def test_a_condition_takes_the_scope_to_search() -> None:
    writer = scoped("system/Patient.cud", write=True)
    ask("DELETE", "Patient/1", permissions=writer)
    assert "conditional delete" in refused("DELETE", "Patient", "identifier=1", permissions=writer).diagnostics
    ask("POST", "Patient", permissions=writer)
    assert "scopes" in refused("POST", "Patient", permissions=writer, criteria="identifier=1").diagnostics
    authorize_reference("Patient/1", writer)
    with pytest.raises(FhirError, match="search-type of Patient"):
        authorize_reference("Patient?identifier=1", writer)


def test_the_condition_of_a_create_is_judged_like_a_query() -> None:
    ask("POST", "Patient", permissions=WRITER, criteria="identifier=urn:x|1")
    chained = "general-practitioner:Practitioner.name=x"
    for criteria in (chained, f"Patient?{chained}", "identifier=1&_has:Procedure:patient:code=1"):
        assert refused("POST", "Patient", permissions=WRITER, criteria=criteria).status == 403


@pytest.mark.parametrize(
    "query",
    [
        "patient=1&_sort:desc=date&_count=10", "patient=1&_sort=-date,status", "_sort=%2Bdate",
        "family:contains=bl%C3%A4ck&given=ruth+ann", "subject=Device/1", "subject:Practitioner=1",
        "subject:identifier=urn:x|1",
        "_id=1&_lastUpdated=gt2020&_elements=status&_summary=true&_total=accurate&_pretty=true&_text=x&_content=x",
        "_format=application/fhir%2Bjson;%20fhirVersion=3.0", "ct=W3sidG9rZW4iOiIrUklE%3d%3d&page=2",
        "_getpages=1b4e28ba&_getpagesoffset=10&_bundletype=searchset", "-pageContext=x&_page_token=y&$skiptoken=z",
        "_hash=1", "code=a;b", "code=http://x;y/z", "name=%FF", "&&=x&", "_include=Encounter:location",
        "_include:iterate=Encounter:location:Location&_include=Encounter:patient,Encounter:subject:Patient",
        "_revinclude=Observation%3Aencounter", "patient:Patient.name=x", "subject:Patient.link:Patient.name:exact=x",
        "_has:Observation:encounter:code=x", "_has:Observation:encounter:_has:MedicationRequest:context:status=x",
        "patient:Patient._has:Observation:patient:code=x", f"{'a:Patient.' * 40}name=x",
    ],
)  # fmt: skip
def test_parameters_that_stay_within_the_types_pass(query: str) -> None:
    ask("GET", "Encounter", query)


@pytest.mark.parametrize(
    "query",
    [
        "_include=*", "_include=Encounter:*", "_include=Encounter", "_include=", "_include",
        "_include=Encounter:participant:Practitioner", "_include=Practitioner:location",
        "_include=Encounter:location,Procedure:location", "_include:iterate=Practitioner:location",
        "_include:recurse=*", "_include=Encounter.location", "_include=Encounter:location%00",
        "_include=Encounter%253Alocation", "_include=Encounter:location;x", "_include=encounter:location",
        "_revinclude=Provenance:target", "_revinclude:iterate=Provenance:target",
        "_revinclude=Provenance:target:Encounter", "patient=1&_include=Encounter:location&_include=Procedure:location",
        "patient.name=x", "general-practitioner.name=x", "participant:Practitioner.name=x",
        "subject:Patient.general-practitioner.name=x", "subject:Patient.general-practitioner:Practitioner.name=x",
        f"{'a:Patient.' * 40}b:Practitioner.name=x", "subject:patient.name=x", "subject:Patient:x.name=x", ".name=x",
        "subject:Patient.=x",
        "_has:Procedure:encounter:code=x", "_has:Observation:encounter:_has:Procedure:x:code=x",
        "_has:Observation:encounter:performer.name=x", "_has:Observation:encounter:performer:Practitioner.name=x",
        "_has:Observation.encounter:code=x", "_has:Observation:encounter=x", "_has=x", "_has", "_has.x:Patient.name=x",
        "_HAS:Observation:encounter:code=x", "patient:Patient._has:Procedure:patient:code=x", "_filter=x", "_query=x",
        "_graph=x", "_list=$current-problems", "_in=List/1", "_contained=true", "_containedType=container",
        "_type=Practitioner",
        "_not-referenced=*:*", "_cascade=delete", "_remove-references=true", "_has:Observation:encounter:_filter=x",
        "subject:Patient._filter=x", "_sort=patient.name", "_sort=-date,participant:Practitioner.name",
        "_sort=participant%3APractitioner%2Ename", "_sort=_has:Procedure:encounter:date",
    ],
)  # fmt: skip
def test_parameters_that_reach_other_types_are_forbidden(query: str) -> None:
    error = refused("GET", "Encounter", query)
    assert (error.status, error.code) == (403, "forbidden")
    for method, path in (("GET", "Patient/1"), ("GET", "Patient/1/_history"), ("DELETE", "Patient/1"), ("POST", "")):
        assert refused(method, path, query, permissions=WRITER).status == 403


@pytest.mark.parametrize(
    "name",
    [
        "_include", "_INCLUDE", "%5Finclude", "_in%63lude", "_includ%65", "_include%3Aiterate", "+_include",
        "_include%20", "%0A_include", "_rEvInClUdE",
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "x=1&", "x=1;", "x;", "&&;", "x=%26&", "_include=Encounter:location&"])
def test_a_disguised_include_is_an_include(name: str, before: str) -> None:
    assert not passes(f"{before}{name}=Encounter:participant:Practitioner")


@pytest.mark.parametrize(
    "name",
    [
        "%255Finclude", "_include%00", "_inc%0Alude", "_incl\tude", "%FF_include", "%C1%9Finclude", "%zz", "%",
        "_include[]", "_include%3DX", "＿include", "_inc%C2%ADlude", "?_include", "_" * 513,
    ],
)  # fmt: skip
def test_a_name_that_can_not_be_read_is_a_bad_request(name: str) -> None:
    assert refused("GET", "Encounter", f"{name}=Encounter:participant").status == 400


def test_named_types_must_be_in_the_scopes_too() -> None:
    narrow = scoped("system/Encounter.rs", "system/Location.rs", "system/Patient.r")
    for query in ("_include=Encounter:location:Location", "_revinclude=Encounter:part-of", "x:Location.name=x"):
        assert passes(query, narrow)
    for query in ("_include=Encounter:subject:Patient", "_revinclude=Observation:encounter", "subject:Patient.name=x"):
        assert passes(query)
        assert not passes(query, narrow)
    assert not passes("_has:Observation:encounter:code=x", narrow)


@pytest.mark.parametrize("base", ["", "/", "https://gateway.example/stu3/", "https://elsewhere.example/x/y/", " "])
@pytest.mark.parametrize(
    ("criteria", "passing"),
    [
        ("Patient?identifier=urn:x|1", True), ("Patient?", True), ("Patient?_has:Observation:patient:code=x", True),
        ("Practitioner?identifier=1", False), ("Practitioner?", False), ("Practitioner/?identifier=1", False),
        ("practitioner?identifier=1", False), ("Prac%74itioner?identifier=1", False),
        ("Patient?general-practitioner:Practitioner.name=x", False), ("Patient?_has:Procedure:patient:code=1", False),
        ("Practitioner/1", True), ("wado.aspx?Practitioner=1", True), ("#Practitioner", True),
    ],
)  # fmt: skip
def test_a_reference_with_criteria_is_judged_as_its_search(base: str, criteria: str, passing: bool) -> None:
    if passing:
        authorize_reference(base + criteria, READER)
    else:
        with pytest.raises(FhirError) as caught:
            authorize_reference(base + criteria, WRITER)
        assert caught.value.status == (404 if criteria.startswith("practitioner") else 403)  # there is no such type


@pytest.mark.parametrize("query", ["patient.name=@", "_include=@", "%00@=@", "_sort=@.x", "_filter=@", "x:@!.y=@"])
def test_errors_repeat_no_value(query: str) -> None:
    assert "Ruth" not in refused("GET", "Encounter", query.replace("@", "Ruth")).diagnostics


def disguised(text: str, seed: int) -> str:
    """`text` with some of its characters percent-encoded or in the other case."""
    rng = random.Random(seed)
    return "".join(
        rng.choice([c, c, c.swapcase(), f"%{ord(c):02x}", f"%{ord(c):02X}", f"%{ord(c.swapcase()):02x}"]) for c in text
    )


PARAMETERS = st.tuples(
    st.sampled_from(["patient", "_count", "date", "code:in", "_sort", "x", ""]),
    st.text(max_size=8).map(quote) | st.sampled_from(["a;b", "1", ";", "%26"]),
).map("=".join)
REACHING = st.sampled_from(
    [
        ("_include", "*"), ("_include:iterate", "Encounter:participant:Practitioner"),
        ("_revinclude", "Provenance:target"), ("patient.name", "x"), ("participant:Practitioner.name", "x"),
        ("_has:Procedure:encounter:code", "x"), ("_filter", "x"), ("_sort", "patient.name"),
    ]
)  # fmt: skip


@given(st.lists(PARAMETERS), REACHING, st.lists(PARAMETERS), st.integers(), st.sampled_from("&;"))
def test_no_disguise_gets_a_reaching_parameter_through(
    before: list[str], reaching: tuple[str, str], after: list[str], seed: int, separator: str
) -> None:
    name, value = reaching
    assert not passes(separator.join([*before, f"{disguised(name, seed)}={value}", *after]))


@given(st.text())
def test_any_query_is_judged(query: str) -> None:
    passes(query)


SCOPES = st.builds(Scope, st.sampled_from(["*", *sorted(TYPES), "Practitioner"]), st.integers(0, 31).map(Action))
REQUESTS = st.sampled_from(
    [
        *WRITES, ("GET", "Patient/1", ""), ("GET", "Practitioner/1", ""), ("GET", "Patient/1/Observation", ""),
        ("GET", "Patient/1/*", ""), ("GET", "Patient/1/$everything", ""), ("GET", "", "_id=1"),
        ("GET", "Encounter", "_include=Encounter:location:Location"),
        ("GET", "Encounter", "_has:Observation:encounter:code=x"),
        ("GET", "Encounter", "_revinclude=Provenance:target"),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "Pateint", "name=x"), ("GET", "Pateint/1", ""), ("GET", "MedicationOrder/1/_history", ""),
        ("POST", "Patients/_search", ""), ("POST", "Obs", ""), ("DELETE", "Pateint/1", ""),
        ("GET", "Pateint/$everything", ""), ("GET", "Pateint/1/Observation", ""), ("GET", "Patient/1/Obs", ""),
    ],
)  # fmt: skip
def test_a_type_that_the_version_does_not_have_is_told_so(method: str, path: str, query: str) -> None:
    error = refused(method, path, query)
    assert (error.status, error.code) == (404, "not-supported")
    assert "FHIR 4.0" in error.diagnostics
    assert all(type in error.diagnostics for type in TYPES)


def test_a_type_that_a_row_names_is_let_through_in_any_version() -> None:
    dstu2 = structs.replace(READER, version=FhirVersion.DSTU2)
    ask("GET", "MedicationRequest", permissions=dstu2)
    assert refused("GET", "CareTeam", permissions=dstu2).status == 404
    assert refused("GET", "CareTeam").status == 403


@given(REQUESTS, st.booleans(), st.lists(SCOPES).map(tuple))
def test_scopes_never_widen(request: tuple[str, str, str], write: bool, scopes: tuple[Scope, ...]) -> None:
    method, path, query = request
    try:
        ask(method, path, query, structs.replace(READER, write=write, scopes=scopes))
    except FhirError:
        return
    ask(method, path, query, structs.replace(READER, write=write))


def check(document: object, permissions: Permissions, kind: InteractionKind = InteractionKind.SEARCH_TYPE) -> None:
    check_response(run(read(json.dumps(document).encode())), kind, permissions)


def responses(listed: object) -> dict[str, object]:
    return resource("Bundle", type="batch-response", entry=[{"resource": listed}])


PATIENT, PRACTITIONER = resource("Patient"), resource("Practitioner")


@pytest.mark.parametrize(
    "document",
    [
        PATIENT, resource("OperationOutcome"), searchset(), searchset(PATIENT, resource("OperationOutcome")),
        searchset(resource("Encounter", contained=[PRACTITIONER])),
    ],
)  # fmt: skip
def test_a_response_of_included_types_passes(document: dict[str, object]) -> None:
    check(document, READER)


@pytest.mark.parametrize(
    "document",
    [
        PRACTITIONER, resource("Parameters"), resource("Binary"), resource("ruth black"),
        searchset(PATIENT, PRACTITIONER), searchset(searchset(searchset(PRACTITIONER))), searchset(searchset(PATIENT)),
        resource("Bundle", entry=[{"response": {"outcome": PRACTITIONER}}]),
    ],
)  # fmt: skip
def test_a_response_that_holds_anything_else_is_forbidden(document: dict[str, object]) -> None:
    with pytest.raises(FhirError) as caught:
        check(document, READER)
    assert (caught.value.status, caught.value.code) == (403, "forbidden")
    assert "ruth" not in caught.value.diagnostics
    if document is PRACTITIONER:
        assert caught.value.diagnostics.startswith("The response holds Practitioner resources")


def test_a_listed_resource_must_be_readable_by_the_scopes() -> None:
    creator = scoped("system/Encounter.rs", "system/Patient.c", write=True)
    check(searchset(resource("Encounter")), creator)
    for bundle in (searchset(PATIENT), searchset(resource("Location"))):
        with pytest.raises(FhirError, match="scopes"):
            check(bundle, creator)


def test_who_may_only_create_sees_what_was_created() -> None:
    creator = scoped("system/Patient.c", write=True)
    check(PATIENT, creator, InteractionKind.CREATE)
    check(responses(PATIENT), creator, InteractionKind.BATCH)
    for disguised in (responses(PATIENT), searchset(responses(PATIENT))):
        with pytest.raises(FhirError):
            check(disguised, creator)
    with pytest.raises(FhirError):
        check(resource("Location"), creator, InteractionKind.CREATE)


def test_what_an_entry_of_a_batch_lists_is_judged_as_listed() -> None:
    check(responses(searchset(PATIENT)), READER, InteractionKind.BATCH)
    for listed in (PRACTITIONER, searchset(PATIENT)):
        with pytest.raises(FhirError):
            check(responses(searchset(listed)), READER, InteractionKind.BATCH)


@pytest.mark.parametrize("unit", ["a&", "%61=1&", "a=b;", "_sort=a&"])
def test_more_parameters_than_any_search_has_are_refused_before_they_are_judged(unit: str) -> None:
    many, few = unit * 10_000, unit * 60
    search = Interaction(InteractionKind.SEARCH_TYPE, "Patient", "Patient")
    authorize(search, few, READER)
    authorize_reference(f"Patient?{few}", READER)
    for refused in (
        lambda: authorize(search, many, READER),
        lambda: authorize(structs.replace(search, criteria=many), "", READER),
        lambda: authorize_reference(f"Patient?{many}", READER),
        lambda: parse("GET", "Patient", many, {}),
        lambda: parse("POST", "Patient", "", {"if-none-exist": many}),
    ):
        with pytest.raises(FhirError) as error:
            refused()
        assert error.value.code == "too-costly"
