"""Criteria and references: judged wherever a server would search by them, and the provider's own where they go up."""

import json
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from urllib.parse import quote

import pytest

from tests.deployment import FORM, GATEWAY
from tests.gateway.conftest import Hospital

# A search that policy refuses, in every spelling that a server resolves.
REFUSED = "_has:AuditEvent:agent:outcome=0"
CRITERIA = [
    f"Practitioner?{REFUSED}",
    f"/Practitioner?{REFUSED}",
    f"https://fhir.example/base/Practitioner?{REFUSED}",
    f"{GATEWAY}/stu3/Practitioner?{REFUSED}",
    f"a b/Practitioner?{REFUSED}",
    f"practitioner?{REFUSED}",
    f"Practitioner?name=O'Hara&{REFUSED}",
    f'Practitioner?name="x"&{REFUSED}',
    f"{'a' * 70_000}/Practitioner?{REFUSED}",
    f"{'a' * 700_000}/Practitioner?{REFUSED}",
]


def in_json(text: str) -> list[str]:
    quoted = json.dumps(text)
    return [quoted, quoted.replace("?", "\\u003f").replace("P", "\\u0050")]


def references_in_json(text: str) -> list[str]:
    """As `in_json`, and in lists, as some readers take them."""
    plain, escaped = in_json(text)
    return [plain, escaped, f"[{plain}]", f'["x", {plain}]', f"[null, {plain}]", f"[ [{plain}]]"]


def in_xml(text: str) -> list[str]:
    return [f'"{escape(text)}"', f'"{escape(text).replace("?", "&#63;").replace("r", "&#x72;")}"']


def patches(criteria: str) -> Iterator[tuple[str, str]]:
    for text in in_json(criteria):
        yield "application/json-patch+json", f'[{{"op":"add","path":"/a/reference","value":{text}}}]'
        yield "application/json-patch+json", f'[{{"op":"add","path":"/a","value":{{"b":{{"reference":{text}}}}}}}]'
        for name in ("valueString", "valueUri", "valueCode"):
            yield (
                "application/fhir+json",
                '{"resourceType":"Parameters","parameter":[{"name":"operation","part":'
                f'[{{"name":"value","{name}":{text}}}]}}]}}',
            )
    for text in in_xml(criteria):
        yield (
            "application/fhir+xml",
            '<Parameters xmlns="http://hl7.org/fhir"><!-- =" --><parameter><name value="operation"/><part>'
            f'<name value="value"/><valueString value={text}/></part></parameter></Parameters>',
        )


def entry(content_type: str, patch: str) -> tuple[str, str]:
    """A batch with the patch in its one entry, and its media type."""
    if content_type.endswith("xml"):
        return content_type, (
            f'<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><resource>{patch}</resource><request>'
            '<method value="PATCH"/><url value="Patient/1"/></request></entry></Bundle>'
        )
    if "patch" in content_type:
        data = b64encode(patch.encode()).decode()
        patch = json.dumps({"resourceType": "Binary", "contentType": content_type, "data": data})
    return "application/fhir+json", (
        f'{{"resourceType":"Bundle","type":"batch","entry":[{{"resource":{patch},'
        '"request":{"method":"PATCH","url":"Patient/1"}}]}'
    )


@pytest.mark.parametrize("batch", ["native", "split"])
@pytest.mark.parametrize("criteria", CRITERIA, ids=lambda criteria: criteria[:40])
async def test_criteria_in_a_patch_are_judged(hospital: Hospital, criteria: str, batch: str) -> None:
    hospital.answers({"resourceType": "Patient"})
    await hospital.row(Access="write", Batch=batch)
    for content_type, patch in patches(criteria):
        answer = await hospital.send("PATCH", "/stu3/Patient/1", patch, content_type=content_type)
        assert answer.status in (400, 403, 404), patch[:200]
        batch_type, body = entry(content_type, patch)
        answer = await hospital.send("POST", "/stu3", body, content_type=batch_type)
        assert answer.status == 200
        assert b'"status":"40' in answer.body, body[:200]
    assert hospital.requests == []


@pytest.mark.parametrize("criteria", CRITERIA, ids=lambda criteria: criteria[:40])
async def test_criteria_in_a_written_resource_are_judged(hospital: Hospital, criteria: str) -> None:
    hospital.answers({"resourceType": "Patient"})
    await hospital.row(Access="write")
    bodies = [
        ("application/fhir+json", f'{{"resourceType":"Patient","x":"{"x" * before}","a":{{"reference":{text}}}}}')
        for text in references_in_json(criteria)
        for before in (0, 256 * 1024 - 300)
    ]
    bodies += [
        ("application/fhir+xml", f'<Patient xmlns="http://hl7.org/fhir"><a><reference value={text}/></a></Patient>')
        for text in in_xml(criteria)
    ]
    for content_type, body in bodies:
        answer = await hospital.send("POST", "/stu3/Patient", body, content_type=content_type)
        assert answer.status in (400, 403, 404), body[:200]
    assert hospital.requests == []


@pytest.mark.parametrize("batch", ["native", "split"])
async def test_a_json_patch_in_a_batch_goes_up_with_its_links_mapped(hospital: Hospital, batch: str) -> None:
    answers = {"resourceType": "Bundle", "type": "batch-response", "entry": [{"response": {"status": "200"}}]}
    hospital.answers(answers if batch == "native" else {"resourceType": "Patient"})
    await hospital.row("r4", Access="write", Batch=batch)
    link = f"{GATEWAY}/r4/Practitioner/1"
    patch = json.dumps([{"op": "add", "path": "/a/reference", "value": link}])
    content_type, body = entry("application/json-patch+json", patch)
    answer = await hospital.send("POST", "/r4", body, content_type=content_type)
    assert answer.status == 200
    mapped = patch.replace(link, f"{hospital.base_url}/Practitioner/1").replace(" ", "").encode()
    if batch == "split":
        assert hospital.requests[0].headers["Content-Type"] == "application/json-patch+json"
        assert hospital.bodies == [mapped]
    else:
        resource = json.loads(hospital.bodies[0])["entry"][0]["resource"]
        assert resource == {
            "resourceType": "Binary",
            "contentType": "application/json-patch+json",
            "data": b64encode(mapped).decode(),
        }


@pytest.mark.parametrize("criteria", [each for each in CRITERIA if len(each) < 1_000])
async def test_criteria_in_a_provenance_header_are_judged(hospital: Hospital, criteria: str) -> None:
    await hospital.row(Access="write", Types="Patient,Provenance,Practitioner")
    for text in references_in_json(criteria):
        value = f'{{"resourceType":"Provenance","target":[{{"reference":{text}}}]}}'
        answer = await hospital.send("POST", "/stu3/Patient", {"resourceType": "Patient"}, x_provenance=value)
        assert answer.status in (400, 403, 404), value
    assert hospital.requests == []


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(("reference", "status"), [("Organization?name=x", 403), ("Patient?identifier=1", 200)])
async def test_a_reference_is_judged_as_its_search(hospital: Hospital, reference: str, status: int, kind: str) -> None:
    hospital.answers({"resourceType": "Patient"})
    await hospital.row("r4", Access="write")
    patient = {"resourceType": "Patient", "link": [{"other": {"reference": reference}}]}
    assert (await hospital.send("POST", "/r4/Patient", patient)).status == status
    patch = json.dumps([{"op": "add", "path": "/link/0/other/reference", "value": reference}])
    answer = await hospital.send("PATCH", "/r4/Patient/1", patch, content_type="application/json-patch+json")
    assert answer.status == status
    entries = [{"resource": patient, "request": {"method": "POST", "url": "Patient"}}]
    hospital.answers({"resourceType": "Bundle", "type": f"{kind}-response", "entry": [{"response": {"status": "201"}}]})
    answer = await hospital.send("POST", "/r4", {"resourceType": "Bundle", "type": kind, "entry": entries})
    assert answer.status == (status if kind == "transaction" else 200)
    assert len(hospital.requests) == (0 if status == 403 else 3)


HERE = f"{GATEWAY}/stu3/Patient/1"


@pytest.mark.parametrize("spelt", ["{}", "Patient?{}", GATEWAY + "/stu3/Patient?{}", GATEWAY + "/fhir/Patient?{}"])
async def test_if_none_exist_asks_the_provider_for_its_own_resources(hospital: Hospital, spelt: str) -> None:
    hospital.answers({"resourceType": "Patient", "id": "1"}, status=201)
    await hospital.row(Access="write")
    criteria = spelt.format(f"identifier=a|1&link={HERE}")
    answer = await hospital.send("POST", "/fhir/Patient", {"resourceType": "Patient"}, if_none_exist=criteria)
    assert answer.status == 201
    assert hospital.requests[0].headers["If-None-Exist"] == f"identifier=a|1&link={hospital.base_url}/Patient/1"
    for other in (f"{GATEWAY}/stu3/Practitioner", "https://elsewhere.example/Patient"):
        sent = {"if_none_exist": f"{other}?identifier=1"}
        assert (await hospital.send("POST", "/stu3/Patient", {"resourceType": "Patient"}, **sent)).status == 400
    assert len(hospital.requests) == 1


async def test_a_patch_a_form_and_a_query_name_the_providers_patient(hospital: Hospital) -> None:
    await hospital.row(Access="write")
    value = {"name": "operation", "part": [{"name": "value", "valueString": HERE}]}
    body = {"resourceType": "Parameters", "parameter": [value]}
    assert (await hospital.send("PATCH", "/stu3/Patient/1", body)).status == 200
    there = f"{hospital.base_url}/Patient/1"
    assert json.loads(hospital.bodies[0]) == json.loads(json.dumps(body).replace(HERE, there))
    form = f"patient={quote(HERE, safe='')}"
    await hospital.send("POST", f"/stu3/Observation/_search?{form}", form, content_type=FORM)
    mapped = f"patient={quote(there, safe='')}"
    assert (hospital.targets[1], hospital.bodies[1]) == (f"/fhir/Observation/_search?{mapped}", mapped.encode())
