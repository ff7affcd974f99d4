"""What the gateway promises the app: DESIGN.md, "A FHIR request, step by step"."""

import asyncio
import gzip
import json
import socket
from typing import Any

import pytest
from aiohttp import web

from shared.message import Request
from tests.deployment import FORM, GATEWAY, Deployment
from tests.faults.hospitals import judged, scripted
from tests.faults.provider_faults import FAULTS, Fault
from tests.gateway.conftest import PATIENT, Hospital

SEARCHSET = {"resourceType": "Bundle", "type": "searchset", "total": 0}


def outcome(body: bytes) -> dict[str, Any]:
    """The one issue of an OperationOutcome: the shape of every refusal."""
    document = json.loads(body)
    assert document["resourceType"] == "OperationOutcome"
    (issue,) = document["issue"]
    assert issue["severity"] == "error"
    assert issue["diagnostics"]
    return dict(issue)


async def test_a_read_reaches_the_tenants_provider(hospital: Hospital) -> None:
    passed = {"ETag": 'W/"3"', "Last-Modified": "Tue, 03 Nov 2026 08:00:00 GMT"}
    dropped = {"X-Powered-By": "secret", "Content-Security-Policy": "x" * 60_000, "Set-Cookie": "a=" + "b" * 20_000}
    hospital.answers(PATIENT, **passed, **dropped, Location="//[")
    answer = await hospital.send("GET", "/stu3/Patient/1", cookie="a" * 30_000)
    assert (answer.status, json.loads(answer.body)) == (200, PATIENT)
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert passed.items() <= answer.headers.items()
    assert not (dropped.keys() | {"Location"}) & answer.headers.keys()
    assert hospital.targets == ["/fhir/Patient/1"]
    hops = [hop.split(";")[0] for hop in answer.headers["Server-Timing"].split(", ")]
    assert hops == ["auth", "directory", "credential", "upstream", "gateway"]


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "gzip, gzip", "GZIP"])
async def test_a_coded_answer_is_read(hospital: Hospital, coding: str) -> None:
    record = {**PATIENT, "managingOrganization": {"reference": f"{hospital.base_url}/Organization/1"}, "x": "y" * 3_000}
    body = json.dumps(record).encode()
    for _ in coding.split(","):
        body = gzip.compress(body)
    hospital.answers(body, Content_Encoding=coding)
    plain = await hospital.send("GET", "/stu3/Patient/1")
    compressed = await hospital.send("GET", "/stu3/Patient/1", Accept_Encoding="gzip")
    assert json.loads(plain.body)["managingOrganization"] == {"reference": f"{GATEWAY}/stu3/Organization/1"}
    assert "Content-Encoding" not in plain.headers
    assert (compressed.headers["Content-Encoding"], gzip.decompress(compressed.body)) == ("gzip", plain.body)
    assert "gzip" in hospital.requests[0].headers["Accept-Encoding"]


async def test_the_request_id_is_echoed_and_passed_up(hospital: Hospital) -> None:
    answer = await hospital.send("GET", "/stu3/Patient/1", X_Request_Id="abc-123")
    assert answer.headers["X-Request-Id"] == "abc-123"
    assert hospital.requests[0].headers["X-Request-Id"] == "abc-123"
    answer = await hospital.send("GET", "/stu3/Patient/1", X_Request_Id='"><script>')
    assert answer.headers["X-Request-Id"].isalnum()


@pytest.mark.parametrize(
    "query",
    [
        "_sort:desc=date&code=a&code=b&x=%7C&empty=",
        "identifier=http%3A%2F%2Fsystem%7C42&_count=5",
        "name=M%C3%BCller+Black&name=%20",
        "a=b;c&&=&d",
        "ct=W3sidG9rZW4iOiIrUklEOn4%2FIn1d%2B/=",
    ],
)
async def test_a_query_reaches_the_provider_byte_for_byte(hospital: Hospital, query: str) -> None:
    hospital.answers(SEARCHSET)
    answer = await hospital.send("GET", f"/stu3/Observation?{query}")
    assert answer.status == 200
    assert hospital.targets == [f"/fhir/Observation?{query}"]


async def test_a_post_search_keeps_query_and_body(hospital: Hospital) -> None:
    hospital.answers(SEARCHSET)
    target, form = "/stu3/Patient/_search?_count=3&_format=json", "given=ruth&family=bl%61ck"
    answer = await hospital.send("POST", target, form, content_type=f"{FORM}; charset=UTF-8")
    assert answer.status == 200
    assert hospital.targets == ["/fhir/Patient/_search?_count=3&_format=json"]
    assert hospital.bodies == [form.encode()]
    assert hospital.requests[0].headers["Content-Type"] == FORM


@pytest.mark.parametrize(
    ("version", "asked", "spelled"),
    [
        ("dstu2", "application/fhir%2Bjson", "application/json%2Bfhir"),
        ("dstu2", "application/json", "application/json%2Bfhir"),
        ("r4", "application/fhir%2Bjson;fhirVersion=4.0", "application/fhir%2Bjson"),
        ("r4", "application/json;fhirVersion=4.3", "application/fhir%2Bjson"),
    ],
)
async def test_a_format_goes_up_in_its_spelling(hospital: Hospital, version: str, asked: str, spelled: str) -> None:
    hospital.answers(SEARCHSET)
    await hospital.row(version)
    text = f"x=%41%2b+&_format={asked}&a=ü"
    query = text.replace("ü", "%C3%BC")
    by_query = await hospital.send("GET", f"/{version}/Patient?{query}")
    by_form = await hospital.send("POST", f"/{version}/Patient/_search", text, content_type=FORM)
    assert (by_query.status, by_form.status) == (200, 200)
    assert hospital.targets[0] == f"/fhir/Patient?{query.replace(asked, spelled)}"
    assert hospital.bodies[1].decode() == text.replace(asked, spelled)


async def test_a_form_s_format_is_the_answers_and_the_errors(hospital: Hospital) -> None:
    hospital.answers(SEARCHSET)
    await hospital.send("POST", "/stu3/Patient/_search", "_format=xml", content_type=FORM)
    refused = await hospital.send("POST", "/stu3/Person/_search", "_format=xml", content_type=FORM)
    assert [request.headers["Accept"] for request in hospital.requests] == ["application/fhir+xml"]
    assert refused.headers["Content-Type"] == "application/fhir+xml; charset=utf-8"


@pytest.mark.parametrize(
    ("version", "media_type"), [("dstu2", "application/json+fhir"), ("stu3", "application/fhir+json")]
)
async def test_what_goes_up_is_the_rows_and_the_versions_and_never_the_apps_token(
    hospital: Hospital, version: str, media_type: str
) -> None:
    await hospital.row(version, ExtraHeaders='{"Redox-Source-Id": "abc"}')
    theirs = {"Cookie": "a=b", "X_Forwarded_Host": "evil.example", "Host": "evil.example", "Accept": "application/json"}
    await hospital.send("GET", f"/{version}/Patient/1", **theirs)
    sent = hospital.requests[0].headers
    assert not {"authorization", "cookie", "x-forwarded-host"} & {name.lower() for name in sent}
    assert (sent["Host"], sent["Accept"]) == (hospital.base_url.split("/")[2], media_type)
    assert sent["Redox-Source-Id"] == "abc"
    assert hospital.token not in str(sent)


async def test_links_lead_to_the_gateway_and_back_and_nothing_else_changes(hospital: Hospital) -> None:
    base, gateway = hospital.base_url, f"{GATEWAY}/fhir"
    bundle = (
        '{"resourceType":"Bundle","type":"searchset","total":1,'
        f'"link":[{{"relation":"self","url":"{base}/Observation?patient=1"}},'
        f'{{"relation":"next","url":"{base}/Observation?patient=1&page=2"}}],'
        f'"entry":[{{"fullUrl":"{base}/Observation/7","resource":{{"resourceType":"Observation","id":"7",'
        f'"identifier":[{{"system":"{base}/NamingSystem/1","value":"x"}}],'
        f'"subject":{{"reference":"{base}/Patient/1"}},"valueQuantity":{{"value":72.0,"code":"1.10"}}}}}}]}}'
    )
    hospital.answers(bundle)
    answer = await hospital.send("GET", f"/fhir/Observation?patient={gateway}/Patient/1&code=8867-4")
    expected = bundle.replace(base, gateway).replace(f"{gateway}/NamingSystem/1", f"{base}/NamingSystem/1")
    assert answer.body.decode() == expected
    assert hospital.targets == [f"/fhir/Observation?patient={base}/Patient/1&code=8867-4"]


async def test_an_answer_may_have_no_body(hospital: Hospital) -> None:
    async def created(request: web.Request) -> web.StreamResponse:
        response = web.Response(status=201, headers={"Location": f"{hospital.base_url}/Patient/2", "Content-Type": "-"})
        response.headers.popall("Content-Type")
        return response

    hospital.answers(PATIENT, ETag='W/"1"')
    await hospital.row(Access="write")
    head = await hospital.send("HEAD", "/stu3/Patient/1")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", 'W/"1"')
    assert head.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    hospital.answers(b"", status=304, ETag='W/"1"')
    known = await hospital.send("GET", "/stu3/Patient/1", If_None_Match='W/"1"')
    assert (known.status, known.body, known.headers["ETag"]) == (304, b"", 'W/"1"')
    assert [request.method for request in hospital.requests] == ["HEAD", "GET"]
    assert hospital.requests[1].headers["If-None-Match"] == 'W/"1"'
    hospital.answer = created
    written = await hospital.send("POST", "/stu3/Patient", PATIENT)
    assert (written.status, written.headers["Location"]) == (201, f"{GATEWAY}/stu3/Patient/2")


async def test_options_needs_no_token(deployment: Deployment) -> None:
    answer = await deployment.send("OPTIONS", "/stu3/Patient")
    assert (answer.status, answer.body) == (204, b"")
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["Patient?x=/metadata", "Patient/1/metadata", "Patient;/metadata", "$x/metadata"])
async def test_metadata_in_a_path_or_query_opens_nothing(deployment: Deployment, path: str) -> None:
    answer = await deployment.send("GET", f"/stu3/{path}")
    assert answer.status == 401


@pytest.mark.parametrize("header", ["{}", "Token {}", "Bearer:{}", "Bearer={}", "JWT {}"])
async def test_a_token_without_bearer_is_told_so(deployment: Deployment, header: str) -> None:
    token = await deployment.token(await deployment.tenant("https://hospital.example"))
    answer = await deployment.send("GET", "/stu3/Patient/1", authorization=header.format(token))
    told = outcome(answer.body)["diagnostics"]
    assert (answer.status, "Authorization: Bearer [token]" in told) == (401, True)
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="fhir", error="invalid_token", error_description="{told}"'
    )


@pytest.mark.parametrize("authorization", [None, "", " ", "Basic YTpi", "Digest username=a"])
async def test_other_credentials_are_none(deployment: Deployment, authorization: str | None) -> None:
    sent = {} if authorization is None else {"authorization": authorization}
    answer = await deployment.send("GET", "/stu3/Patient/1?access_token=x", **sent)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="fhir"')
    issue = outcome(answer.body)
    assert (issue["code"], "Bearer" in issue["diagnostics"]) == ("login", True)


async def test_a_token_opens_only_its_tenants_bases(deployment: Deployment, hospital: Hospital) -> None:
    await hospital.row("dstu2")
    await deployment.tenant(hospital.base_url, "stu3")
    for base in ("fhir", "stu3", "r4"):
        answer = await hospital.send("GET", f"/{base}/Patient/1")
        assert answer.status == 404
        assert "/dstu2" in outcome(answer.body)["diagnostics"]
    assert hospital.requests == []


async def test_errors_are_xml_for_who_asks_for_xml(deployment: Deployment) -> None:
    answer = await deployment.send("GET", "/dstu2/Patient/1", Accept="application/xml+fhir")
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/xml+fhir; charset=utf-8"
    assert answer.body.startswith(b"<?xml") or answer.body.startswith(b"<OperationOutcome")


REFUSED = {
    403: """
        GET Practitioner/1                                                | GET Patient?_revinclude=Provenance:target
        GET Patient?_include=Patient:general-practitioner:Practitioner    | GET Patient?%5Finclude=*
        GET Observation?patient:Practitioner.name=x                       | GET ?_getpages=1
        GET Patient?_has:Provenance:target:agent=1                        | GET _history
        GET Patient/1/$everything | POST Patient | PUT Patient/1          | DELETE Patient/1""",
    400: """
        GET Patient/.. | GET ../admin | GET Patient/%2e%2e/x | GET Patient%2f1
        GET //evil.example/Patient/1 | GET https://evil.example/Patient""",
    404: "GET Patient/1/2/3/4 | GET nothing",
    405: "PATCH _search",
}


@pytest.mark.parametrize("status", REFUSED)
async def test_what_is_not_let_through_never_reaches_the_provider(hospital: Hospital, status: int) -> None:
    for line in REFUSED[status].strip().replace("\n", "|").split("|"):
        method, path = line.split()
        body = {"resourceType": "Patient"} if method in ("POST", "PUT") else b""
        answer = await hospital.send(method, f"/stu3/{path}", body)
        assert answer.status == status, line
        outcome(answer.body)
    assert hospital.requests == []


async def test_scopes_narrow_what_the_row_allows(deployment: Deployment, hospital: Hospital) -> None:
    tenant = await deployment.tenant(hospital.base_url)
    hospital.token = await deployment.token(tenant, "system/Patient.r system/Practitioner.rs")
    for path, status in (("Patient/1", 200), ("Observation/1", 403), ("Patient?name=x", 403), ("Practitioner/1", 403)):
        assert (await hospital.send("GET", f"/stu3/{path}")).status == status, path


async def test_a_row_may_allow_more(hospital: Hospital) -> None:
    headers = {"Location": f"{hospital.base_url}/Procedure/9/_history/1", "ETag": 'W/"1"'}
    hospital.answers({"resourceType": "Procedure", "id": "9"}, 201, **headers)
    await hospital.row(Access="write", Types="Patient, Procedure")
    procedure = '{"resourceType":"Procedure","subject":{"reference":"BASE/Patient/1"},"x":1.10}'
    sent = {"content_type": "application/fhir+json", "prefer": "return=representation"}
    answer = await hospital.send("POST", "/stu3/Procedure", procedure.replace("BASE", f"{GATEWAY}/stu3"), **sent)
    assert (answer.status, answer.headers["Location"]) == (201, f"{GATEWAY}/stu3/Procedure/9/_history/1")
    assert hospital.bodies == [procedure.replace("BASE", hospital.base_url).encode()]
    assert hospital.requests[0].headers["Prefer"] == "return=representation"
    assert (await hospital.send("GET", "/stu3/Observation/1")).status == 403


async def test_an_answer_with_other_types_is_refused(hospital: Hospital) -> None:
    other = {"resourceType": "Practitioner", "id": "2"}
    found = {**SEARCHSET, "entry": [{"resource": PATIENT}, {"resource": other}]}
    for body, status in ((found, 200), (other, 200), (other, 409)):
        hospital.answers(body, status)
        answer = await hospital.send("GET", "/stu3/Patient?_include=Patient:general-practitioner")
        assert (answer.status, b'"2"' in answer.body) == (403, False)


async def test_a_body_without_length_may_have_been_lost(deployment: Deployment, hospital: Hospital) -> None:
    hospital.answers(SEARCHSET)
    token = await deployment.token(await deployment.tenant(hospital.base_url))
    headers = {"content-type": FORM, "authorization": f"Bearer {token}"}
    chunked = {**headers, "transfer-encoding": "chunked"}
    for sent, body, status in ((chunked, b"name=x", 200), (headers, b"", 200), (chunked, b"", 411)):
        answer = await deployment.application.gateway(Request("POST", "/stu3/Patient/_search", "", sent, body))
        assert answer.status == status
    assert "StringContent" in outcome(answer.body)["diagnostics"]


async def test_a_coded_body_is_answered_with_what_is_taken(hospital: Hospital) -> None:
    answer = await hospital.send("POST", "/stu3/Patient/_search", "name=x", content_encoding="gzip")
    assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "identity")


@pytest.mark.parametrize(
    ("line", "kind", "body", "status"),
    [
        ("POST /stu3", "text/plain", "x", 415),
        *(
            ("POST /stu3", "application/fhir+json", body, 400)
            for body in (
                *("{", "[]", "[" * 100_000, '{"resourceType":"Patient"}'),
                '{"resourceType":"Bundle","type":"searchset"}',
                '{"resourceType":"Bundle","type":"batch","entry":{}}',
            )
        ),
        ("POST /stu3", "application/fhir+json", '{"resourceType":"Bundle","type":"transaction","entry":[]}', 403),
        *(
            ("PATCH /stu3/Patient/1", "application/json-patch+json", body, 400)
            for body in ("", "{", "{}", "]}", '[{"op":"test"')
        ),
        *(
            ("POST /stu3/Patient", "application/fhir+xml", body, 400)
            for body in (
                *("<Patient", '<!DOCTYPE Patient><Patient xmlns="http://hl7.org/fhir"/>'),
                *('<Observation xmlns="http://hl7.org/fhir"/>', '<Bundle xmlns="http://hl7.org/fhir"/>'),
            )
        ),
    ],
)
async def test_a_wrong_body_is_refused(hospital: Hospital, line: str, kind: str, body: str, status: int) -> None:
    method, target = line.split()
    await hospital.row(Access="read" if target == "/stu3" else "write")
    answer = await hospital.send(method, target, body, content_type=kind)
    assert answer.status == status
    outcome(answer.body)
    assert hospital.requests == []


async def test_a_stopped_provider_is_a_502_without_its_address(deployment: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/secret-path"
    token = await deployment.token(await deployment.tenant(base_url))
    answer = await deployment.send("GET", "/stu3/Patient/1", token)
    assert answer.status == 502
    assert not [told for told in ("127.0.0.1", "secret-path") if told in str(outcome(answer.body))]


async def test_a_slow_provider_is_a_504_within_its_timeout(hospital: Hospital) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(10)
        raise AssertionError("the gateway waited")

    hospital.answer = hang
    await hospital.row(TimeoutSeconds="0.3")
    began = asyncio.get_running_loop().time()
    answer = await hospital.send("GET", "/stu3/Patient/1")
    assert asyncio.get_running_loop().time() - began < 5
    assert answer.status == 504
    assert outcome(answer.body)["code"] == "timeout"


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.columns], ids=lambda fault: fault.name)
async def test_what_is_not_fhir_becomes_an_outcome(deployment: Deployment, fault: Fault) -> None:
    async with scripted(fault.script) as hospital:
        token = await deployment.token(await deployment.tenant(hospital.base_url))
        judged(await deployment.send("GET", "/stu3/Patient/1", token), fault, hospital)


@pytest.mark.parametrize("status", [200, 202, 204, 400, 403, 404, 409, 410, 412, 422, 500])
async def test_a_delete_comes_back_with_the_providers_status(hospital: Hospital, status: int) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "conflict"}]}
    hospital.answers(b"" if status == 204 else outcome, status=status)
    await hospital.row(Access="write")
    answer = await hospital.send("DELETE", "/stu3/Patient/1")
    assert (answer.status, answer.body and json.loads(answer.body)) == (status, b"" if status == 204 else outcome)


async def test_a_read_is_tried_again_and_a_write_is_not(hospital: Hospital) -> None:
    async def fail_once(request: web.Request) -> web.Response:
        status = 503 if len(hospital.requests) == 1 else 200
        return web.json_response(PATIENT if status == 200 else {}, status=status, content_type="application/fhir+json")

    hospital.answer = fail_once
    await hospital.row(Access="write")
    assert ((await hospital.send("GET", "/stu3/Patient/1")).status, len(hospital.requests)) == (200, 2)
    hospital.requests.clear()
    assert ((await hospital.send("PUT", "/stu3/Patient/1", PATIENT)).status, len(hospital.requests)) == (502, 1)


async def test_an_answer_that_is_too_large_is_refused(deployment: Deployment, hospital: Hospital) -> None:
    hospital.answers(b'"' + b"x" * (deployment.application.settings.max_response_bytes + 1) + b'"')
    answer = await hospital.send("GET", "/stu3/Patient/1")
    assert answer.status == 502
    assert outcome(answer.body)["code"] == "too-costly"


async def test_a_busy_provider_is_a_503_for_its_tenant_alone(deployment: Deployment, hospital: Hospital) -> None:
    release = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        if "slow" in request.raw_path:
            await release.wait()
        return web.json_response(PATIENT, content_type="application/fhir+json")

    hospital.answer = wait
    slow = await deployment.token(await deployment.tenant(hospital.base_url, MaxConcurrent=1))
    other = await deployment.token(await deployment.tenant(hospital.base_url))
    first = asyncio.create_task(deployment.send("GET", "/stu3/Patient/slow", slow))
    refused = await asyncio.gather(*(deployment.send("GET", "/stu3/Patient/slow2", slow) for _ in range(3)))
    assert [answer.status for answer in refused].count(503) == 3
    assert refused[0].headers["Retry-After"] == "1"
    assert (await deployment.send("GET", "/stu3/Patient/1", other)).status == 200
    release.set()
    assert (await first).status == 200


async def test_a_broken_row_names_row_and_column_and_hurts_no_other(deployment: Deployment, hospital: Hospital) -> None:
    broken = await deployment.tenant("ftp://x", TimeoutSeconds="2")
    answer = await deployment.send("GET", "/stu3/Patient/1", await deployment.token(broken))
    assert answer.status == 500
    diagnostics = outcome(answer.body)["diagnostics"]
    assert [word in diagnostics for word in (broken, "BaseUrl", "ftp")] == [True, True, False]
    assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200


async def test_a_rotated_provider_secret_is_picked_up_on_401(hospital: Hospital) -> None:
    async def demand(request: web.Request) -> web.Response:
        status = 200 if request.headers.get("Authorization") == "Bearer new" else 401
        return web.json_response(PATIENT, status=status, content_type="application/fhir+json")

    secret = await hospital.deployment.secret("Bearer old")
    await hospital.row(Auth="header", AuthHeader="Authorization", AuthSecret=secret)
    await hospital.send("GET", "/stu3/Patient/1")
    await hospital.deployment.vault.set(secret, "Bearer new")
    hospital.answer = demand
    assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200


async def test_a_token_for_the_provider_is_got_over_the_gateways_own_session(hospital: Hospital) -> None:
    async def demand(request: web.Request) -> web.Response:
        if request.path == "/token":
            assert hospital.bodies[-1] == b"grant_type=client_credentials"
            return web.json_response({"access_token": "t", "token_type": "Bearer", "expires_in": 300})
        assert request.headers["Authorization"] == "Bearer t"
        return web.json_response(PATIENT, content_type="application/fhir+json")

    hospital.answer = demand
    columns = {"AuthTokenUrl": hospital.base_url.replace("/fhir", "/token"), "AuthClientId": "gateway"}
    secret = await hospital.deployment.secret("s3cret")
    await hospital.row(Auth="client_secret_basic", AuthSecret=secret, **columns)
    for _ in range(2):
        assert (await hospital.send("GET", "/stu3/Patient/1")).status == 200
    assert hospital.targets == ["/token", "/fhir/Patient/1", "/fhir/Patient/1"]


@pytest.mark.parametrize(
    "cache_control", ["public, max-age=3600", "private, immutable", "s-maxage=9, stale-while-revalidate=9", ""]
)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/stu3/Patient/1", 200),
        ("GET", "/stu3/Patient/1", 304),
        ("GET", "/stu3/Patient/1", 404),
        ("HEAD", "/stu3/Patient/1", 200),
        ("GET", "/stu3/Practitioner/1", 200),
        ("GET", "/stu3/nothing", 200),
        ("OPTIONS", "/stu3/Patient", 200),
        ("POST", "/stu3", 200),
    ],
)
async def test_no_cache_may_keep_an_answer(
    deployment: Deployment, hospital: Hospital, cache_control: str, method: str, path: str, status: int
) -> None:
    kept = {"Cache_Control": cache_control, "Expires": "Tue, 03 Nov 2099 08:00:00 GMT", "Vary": "X", "ETag": 'W/"1"'}
    hospital.answers({**PATIENT, "x": "y" * 3_000}, status, **kept)
    answer = await hospital.send(method, path, Accept_Encoding="gzip")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"].split(", ")[0] == "Authorization"
    assert "Expires" not in answer.headers
    refused = await deployment.send(method, path)
    assert (refused.headers["Cache-Control"], refused.headers["Vary"]) == ("no-store", "Authorization")


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 412, 413, 414, 415, 422])
async def test_a_refusal_of_the_request_keeps_its_status(hospital: Hospital, status: int) -> None:
    for kind, body in (("text/html", "<html>secret"), ("application/json", "{}"), ("application/fhir+xml", "<")):
        hospital.answers(body, status, Content_Type=kind, Allow="GET, HEAD, PUT, DELETE")
        answer = await hospital.send("GET", "/stu3/Patient/1")
        assert (answer.status, answer.headers["Allow"]) == (status, "GET, HEAD")
        assert outcome(answer.body)["diagnostics"] == f"The provider answered {status} without saying why."


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "Patient", {"If_None_Exist": "identifier=\u00dcber"}),
        ("PUT", "Patient/1", {"If_Match": 'W/"\u00fc"'}),
        ("DELETE", "Patient/1", {"If_Unmodified_Since": "\u00fc"}),
        ("POST", "", {"If_Match": "1"}),
        ("DELETE", "Patient?_format=json", {}),
    ],
)
async def test_no_condition_is_dropped(hospital: Hospital, method: str, path: str, headers: dict[str, str]) -> None:
    await hospital.row(Access="write")
    answer = await hospital.send(method, f"/stu3/{path}", PATIENT if method != "DELETE" else b"", **headers)
    assert answer.status == 400
    assert hospital.requests == []


PDF = b"%PDF-1.7\0\xff"


@pytest.mark.parametrize(
    ("accept", "content_type", "body", "status"),
    [
        ("application/pdf", "application/pdf", PDF, 200),
        ("image/png, */*;q=0.1", "application/pdf", PDF, 200),
        ("", "text/xml; charset=iso-8859-1", b"<ClinicalDocument/>", 200),
        ("*/*", "application/json", b"[1]", 200),
        ("text/html", "text/html", b"<p>", 200),
        ("*/*", "text/html", b"<html>Sign in", 502),
        ("application/pdf", "application/fhir+json", b"{", 502),
        ("application/pdf", "application/pdf\t\x01", PDF, 502),
        ("application/fhir+json, application/pdf", "application/pdf", PDF, 502),
    ],
)
async def test_the_content_of_a_binary_comes_as_it_is(
    hospital: Hospital, accept: str, content_type: str, body: bytes, status: int
) -> None:
    hospital.answers(body, Content_Type=content_type, ETag='W/"1"')
    await hospital.row(Types="Binary")
    kept = {"Content-Type": content_type, "ETag": 'W/"1"', "Cache-Control": "no-store"}
    safe = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
    safe["Content-Security-Policy"] = "sandbox; default-src 'none'"
    for path in ("Binary/1", "Binary/1/_history/2"):
        answer = await hospital.send("GET", f"/stu3/{path}", Accept=accept)
        head = await hospital.send("HEAD", f"/stu3/{path}", Accept=accept)
        assert answer.status == status
        if status == 200:
            assert answer.body == body
            assert (kept | safe).items() <= answer.headers.items()
            assert safe.items() <= head.headers.items()
            assert hospital.requests[-1].headers["Accept"] == (accept or "*/*")
        else:
            outcome(answer.body)


async def test_the_resource_of_a_binary_is_fhir_as_any(hospital: Hospital) -> None:
    hospital.answers({"resourceType": "Binary", "securityContext": {"reference": f"{hospital.base_url}/Patient/1"}})
    await hospital.row(Types="Binary")
    for accept in ("application/fhir+json", "application/pdf", "*/*", ""):
        answer = await hospital.send("GET", "/stu3/Binary/1", Accept=accept)
        assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert json.loads(answer.body)["securityContext"]["reference"] == f"{GATEWAY}/stu3/Patient/1"
    assert hospital.requests[0].headers["Accept"] == "application/fhir+json"
    hospital.answers(PATIENT)
    assert (await hospital.send("GET", "/stu3/Binary/1", Accept="*/*")).status == 403


async def test_only_a_binary_has_content(hospital: Hospital) -> None:
    hospital.answers(PDF, Content_Type="application/pdf")
    for path in ("Binary/1/_history", "Binary", "Binary/_search", "Patient/1"):
        assert (await hospital.send("GET", f"/stu3/{path}", Accept="application/pdf")).status == 406
    assert (await hospital.send("GET", "/stu3/Binary/1", Accept="application/pdf")).status == 403
    assert hospital.requests == []
    assert (await hospital.send("GET", "/stu3/Patient/1", Accept="*/*")).status == 502
    hospital.answers("<html>", 404, Content_Type="text/html")
    await hospital.row(Types="Binary")
    answer = await hospital.send("GET", "/stu3/Binary/1", Accept="text/html")
    assert (answer.status, outcome(answer.body)["code"]) == (404, "not-found")
