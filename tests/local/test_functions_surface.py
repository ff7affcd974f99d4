"""The public functions in the local host: whatever path comes, some function answers it in the right shape."""

import asyncio
import json
from collections.abc import AsyncIterator
from email.parser import BytesParser
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.fhir.versions import FhirVersion, fhir_bases
from tests.deployment import GATEWAY, Deployment
from tests.host import Host

BASES = [f"{GATEWAY}/{base}" for base in fhir_bases(FhirVersion.STU3)]
SMART = "/r4/.well-known/smart-configuration"
HttpResponse = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
async def host(deployment: Deployment) -> AsyncIterator[Host]:
    host = await deployment.host()
    yield host
    await host.stop()
    assert host.unexpected() == []


async def ask(server: Host, target: str, method: str = "GET", **headers: str) -> HttpResponse:
    """Sends a request target as it is; keyword headers have `_` for `-`."""
    sent = {"host": "gateway.example", "connection": "close"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
    received = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    status, _, fields = head.partition(b"\r\n")
    found = {name.lower(): value for name, value in BytesParser().parsebytes(fields).items()}
    return int(status.split()[1]), found, body


@pytest.mark.parametrize("target", ["/", "/Patient", "/Patient/1?x=/fhir", "/r6/metadata", "/fhir%0a/Patient"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_outside_the_bases_an_outcome_names_them(host: Host, target: str, method: str) -> None:
    status, _, body = await ask(host, target, method)
    (issue,) = json.loads(body)["issue"]
    assert (status, [base for base in BASES if base not in issue["diagnostics"]]) == (404, [])


@pytest.mark.parametrize(("target", "status"), [("/", 200), ("/Patient", 404), ("/r6/metadata", 404)])
async def test_a_browser_gets_a_page_with_bases_token_url_and_docs(host: Host, target: str, status: int) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    found, headers, body = await ask(host, target, accept=accept)
    assert (found, headers["content-type"]) == (status, "text/html; charset=utf-8")
    for shown in (*BASES, f"{GATEWAY}/oauth2/token", "Connect an app"):
        assert shown in body.decode()
    assert (await ask(host, target, "HEAD", accept=accept))[0::2] == (status, b"")


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        *((path, "GET, HEAD, OPTIONS") for path in ("/stu3/metadata", SMART, "/oauth2/keys")),
        *(("/oauth2/token", "POST, OPTIONS"), ("/oauth2/authorize", "GET, HEAD, POST, OPTIONS")),
        ("/health", "GET, HEAD"),
    ],
)
async def test_another_method_is_a_405_with_allow(host: Host, target: str, allowed: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(allowed.split(", ")):
        status, headers, _ = await ask(host, target, method)
        assert (status, headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("target", ["/", "/stu3/metadata", "/r4/Patient", "/oauth2/token", "/oauth2/keys", "/health"])
async def test_every_response_has_a_request_id_the_clients_if_it_may_be_shown(host: Host, target: str) -> None:
    own = (await ask(host, target))[1]["x-request-id"]
    assert (await ask(host, target))[1]["x-request-id"] != own
    assert (await ask(host, target, x_request_id="a-b.1"))[1]["x-request-id"] == "a-b.1"
    assert "<" not in (await ask(host, target, x_request_id="<a>"))[1]["x-request-id"]
    _, headers, _ = await ask(host, "/oauth2/token", "POST")
    lines = [line for line in host.log.read_text().splitlines() if '"event":"token"' in line]
    assert any(f'"request":"{headers["x-request-id"]}"' in line for line in lines)


words = st.sampled_from(["fhir", "R4", "metadata", ".well-known", "Patient", "_search", "oauth2", "token", "health"])
ends = st.sampled_from(["", "", "", "%0a", "%0D%0a", "%2F", "%5c", "%20", ";", "%C5%BF", "..", "%FF"])
paths = st.lists(st.tuples(words | st.text(max_size=4).map(quote), ends).map("".join), max_size=4).map("/".join)


@settings(max_examples=100)
@given(
    path=paths,
    query=st.sampled_from(["", "?", "?_format=xml", "?a=%0a"]),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    name=st.sampled_from(["gateway.example", "[::1", "a:1", "]"]),
)
async def test_any_path_gets_a_response_of_its_place(host: Host, path: str, query: str, method: str, name: str) -> None:
    status, headers, body = await ask(host, f"/{path}{query}", method, host=name)
    if "x-request-id" not in headers:
        assert (status in (400, 404), body) == (True, b"")  # the host's own: an empty segment, a null character
    elif status >= 400 and body:
        assert status < 500
        outcome = b"<OperationOutcome" in body if "xml" in headers["content-type"] else None
        assert outcome or {"resourceType", "error"} & set(json.loads(body))
