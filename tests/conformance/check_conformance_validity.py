"""The gateway's own resources are valid by HAPI's instance validator. Run by `make clients`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from typing import Any

import pytest

from shared.directory.provider import BatchMode
from shared.fhir.versions import FhirFormat
from tests.clients import installation
from tests.clients.installation import Unavailable
from tests.conformance.conftest import Sides
from tests.conformance.interactions import batch
from tests.conformance.servers import HAPI, Server
from tests.conformance.side import Response

# The validator's own error: it knows the links of a Bundle of DSTU2, but not of one inside another.
_DSTU2_LINK = re.compile(r"Bundle(.entry\[\d+].resource.link\[\d+]: Unrecognized property|/f:link: Undefined element)")
Errors = Callable[[Server, Response], Awaitable[list[str]]]
Send = Callable[..., Awaitable[Response]]


@pytest.fixture(scope="module")
async def errors() -> AsyncIterator[Errors]:
    """Validates a response's body, and gives the errors."""
    try:
        java = await asyncio.to_thread(installation.java, installation.CLIENTS / "java")
    except Unavailable as reason:
        pytest.skip(str(reason))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*java, "clients.Validator", stdin=pipe, stdout=pipe, limit=2**24)
    assert process.stdin is not None
    assert process.stdout is not None
    into, out = process.stdin, process.stdout

    async def validate(server: Server, response: Response) -> list[str]:
        into.write(f"{json.dumps({'version': server.version.value, 'text': response.body.decode()})}\n".encode())
        async with asyncio.timeout(300):
            found: list[str] = json.loads(await out.readline())
        return [error for error in found if not _DSTU2_LINK.match(error)]

    yield validate
    into.close()
    await process.wait()


@pytest.fixture(params=product(HAPI, FhirFormat), ids=lambda pair: f"{pair[0].key}-{pair[1].value}")
async def send(request: pytest.FixtureRequest, sides: Sides, errors: Errors) -> Send:
    """Sends a request to the gateway's side of a server, in a format, and gives the response, which is valid."""
    server, format = request.param
    _, through = await sides(server, BatchMode.SPLIT)

    async def send(method: str, path: str, body: object = None, **headers: str) -> Response:
        response = await through.send(method, path, body, **{"Accept": server.version.media_type(format)} | headers)
        assert await errors(server, response) == []
        return response

    return send


FAILING = ("Patient/nobody", "Pateint/1", "Claim/1", "Location/ward_12", "a b", "Patient/1001?_summary=text")
RESPONSES: dict[str, tuple[int, str, str, Any, dict[str, str]]] = {
    "the statement": (200, "GET", "metadata", None, {}),
    "no token": (401, "GET", "Patient/1001", None, {"Authorization": ""}),
    "a bad token": (401, "GET", "Patient/1001", None, {"Authorization": "Bearer no"}),
    "an unknown type": (404, "GET", "Pateint/1001", None, {}),
    "a type that is not let through": (403, "GET", "Claim/1", None, {}),
    "an interaction that is not offered": (403, "GET", "_history", None, {}),
    "a method that is not offered": (405, "POST", "metadata", {}, {}),
    "a body that is not FHIR": (400, "POST", "", {"resourceType": "Patient"}, {}),
    "a broken body": (400, "POST", "", "{", {}),
    "a media type that is not FHIR": (415, "POST", "", "a=b", {"Content_Type": "text/csv"}),
    "what is not FHIR": (502, "GET", "Patient/1001?_summary=text", None, {}),
    "a batch of nothing": (200, "POST", "", batch(), {}),
    "a batch of one": (200, "POST", "", batch("Patient/1001"), {}),
    "a batch of the same twice": (200, "POST", "", batch("Patient/1001", "Patient/1001"), {}),
    "a batch of searches that find the same": (200, "POST", "", batch(*["Patient?_id=1001"] * 2, "Patient/1001"), {}),
    "a batch of what fails": (200, "POST", "", batch(*FAILING), {}),
    "a batch of a deletion": (200, "POST", "", batch("Patient/nobody", method="DELETE"), {}),
}


@pytest.mark.parametrize("name", RESPONSES)
async def test_a_response_is_valid(name: str, send: Send) -> None:
    status, method, path, body, headers = RESPONSES[name]
    response = await send(method, path, body, **headers)
    assert response.status == status
    assert status == 200 or b"OperationOutcome" in response.body
    assert path or status != 200 or b"batch-response" in response.body
