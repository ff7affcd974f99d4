import json
from collections.abc import Mapping
from xml.etree import ElementTree

import pytest

from shared.fhir.versions import FhirVersion
from shared.message import Request, Response
from shared.metadata import DocumentEndpoint

GATEWAY = "https://gateway.test"
METADATA, SMART = "/fhir/metadata", "/fhir/.well-known/smart-configuration"
SERVER = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
NUMBERS = {"fhir": "3.0.2", "dstu2": "1.0.2", "stu3": "3.0.2", "r4": "4.0.1", "r4b": "4.3.0", "r5": "5.0.0"}

endpoint = DocumentEndpoint(GATEWAY, FhirVersion.STU3)


async def ask(path: str, query: str = "", method: str = "GET", headers: Mapping[str, str] | None = None) -> Response:
    return await endpoint(Request(method, path, query, headers or {}))


def assert_outcome(response: Response, status: int, code: str) -> None:
    assert response.status == status
    assert response.headers["Cache-Control"] == "no-store"
    outcome = json.loads(response.body)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == code


@pytest.mark.parametrize("base", NUMBERS)
async def test_each_base_has_its_own_statement(base: str) -> None:
    response = await ask(f"/{base}/metadata")
    assert await ask(f"/{base.upper()}/Metadata/") == response
    document = json.loads(response.body)
    assert response.status == 200
    assert document["fhirVersion"] == NUMBERS[base]
    assert document["implementation"]["url"] == f"{GATEWAY}/{base}"
    uris = document["rest"][0]["security"]["extension"][0]["extension"]
    assert {"url": "token", "valueUri": f"{GATEWAY}/oauth2/token"} in uris
    assert ({"url": "authorize", "valueUri": f"{GATEWAY}/oauth2/authorize"} in uris) == base.startswith("r")


async def test_the_portal_stands_in_the_statement_where_there_is_one() -> None:
    with_portal = DocumentEndpoint(GATEWAY, FhirVersion.R4, portal_url="https://portal.test/portal")
    document = json.loads((await with_portal(Request("GET", METADATA))).body)
    uris = document["rest"][0]["security"]["extension"][0]["extension"]
    for name in ("register", "manage"):
        assert {"url": name, "valueUri": "https://portal.test/portal"} in uris


async def test_the_statement_comes_in_xml_to_who_asks() -> None:
    by_parameter = await ask("/dstu2/metadata", "_format=xml")
    by_header = await ask("/dstu2/metadata", headers={"accept": "application/xml+fhir"})
    assert by_parameter == by_header
    assert by_header.headers["Content-Type"] == "application/xml+fhir; charset=utf-8"
    assert by_header.headers["Vary"] == "Accept"
    assert ElementTree.fromstring(by_header.body).tag == "{http://hl7.org/fhir}Conformance"  # noqa: S314


@pytest.mark.parametrize("accept", ["application/json", "application/fhir+xml", "text/html", "*/*;q=0"])
async def test_the_smart_configuration_is_json_whatever_is_asked(accept: str) -> None:
    response = await ask(SMART, headers={"accept": accept})
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")


async def test_every_document_tells_the_same_of_the_authorization_server() -> None:
    """Client credentials with a secret or a key, and nothing else; nobody signs in."""
    smart = json.loads((await ask(SMART)).body)
    for path in SERVER:
        found = json.loads((await ask(path)).body)
        assert (found.pop("issuer"), found.pop("response_types_supported")) == (GATEWAY, [])
        assert found.items() <= smart.items()
        assert "authorization_endpoint" not in found
    assert not {"issuer", "authorization_endpoint"} & set(smart)
    assert (smart["token_endpoint"], smart["jwks_uri"]) == (f"{GATEWAY}/oauth2/token", f"{GATEWAY}/oauth2/keys")
    assert smart["grant_types_supported"] == ["client_credentials"]
    assert set(smart["token_endpoint_auth_methods_supported"]) == {
        "private_key_jwt",
        "client_secret_basic",
        "client_secret_post",
    }
    assert all(scope.startswith("system/") for scope in smart["scopes_supported"])
    algorithms = smart["token_endpoint_auth_signing_alg_values_supported"]
    assert {"RS384", "ES384"} <= set(algorithms)
    assert {"client-confidential-asymmetric", "client-confidential-symmetric"} <= set(smart["capabilities"])
    assert {"capabilities", "code_challenge_methods_supported"} <= set(smart)


@pytest.mark.parametrize("path", [METADATA, SMART, *SERVER])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"other" , W/{} ,"more"', "*"])
async def test_a_document_may_be_kept_by_anyone_and_who_has_it_is_told_so(path: str, form: str) -> None:
    first = await ask(path)
    again = await ask(path, headers={"if-none-match": form.format(first.headers["ETag"])})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    for other in ('"other"', "", '"*"', "W/", first.headers["ETag"].strip('"')):
        assert await ask(path, headers={"if-none-match": other}) == first
    for response in (first, again):
        assert response.headers["Cache-Control"] == "public, max-age=300"
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_each_representation_has_its_own_strong_etag_in_every_process() -> None:
    responses = [await ask(f"/{base}/metadata", f"_format={format}") for base in NUMBERS for format in ("json", "xml")]
    assert len({response.headers["ETag"] for response in responses}) == len(responses)
    assert all(response.headers["ETag"].startswith('"') for response in responses)
    assert await DocumentEndpoint(GATEWAY, FhirVersion.STU3)(Request("GET", METADATA)) == await ask(METADATA)


@pytest.mark.parametrize("path", [METADATA, SMART, *SERVER, "/fhir/metadata/x"])
async def test_head_is_get_without_the_body(path: str) -> None:
    get, head = await ask(path), await ask(path, method="HEAD")
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get"])
async def test_a_document_can_only_be_read(method: str) -> None:
    response = await ask(METADATA, method=method)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    if method == "OPTIONS":
        assert (response.status, response.body, len(response.headers)) == (204, b"", 1)
    else:
        assert_outcome(response, 405, "not-supported")


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/metadata", "/fhir", "/fhir/metadata/x", "/fhir/metadata/../Patient", "/fhir/Patient/metadata",
        "/fhir/.well-known", "/fhir/.well-known/openid-configuration", "/dstu3/metadata",
        "/.well-known", "/.well-known/smart-configuration", "/.well-known/metadata", f"{SERVER[0]}/fhir",
    ],
)  # fmt: skip
async def test_nothing_else_is_found(path: str) -> None:
    assert_outcome(await ask(path), 404, "not-found")


async def test_an_error_comes_in_the_format_and_version_asked_for() -> None:
    response = await ask("/r4/metadata", headers={"accept": "application/fhir+xml;fhirVersion=3.0"})
    assert (response.status, response.headers["Content-Type"]) == (406, "application/fhir+xml; charset=utf-8")
    assert b"FHIR 4.0" in response.body
