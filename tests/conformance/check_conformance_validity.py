"""What the gateway writes itself is valid by HAPI's instance validator: `make conformance`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from shared.directory.provider import BatchMode
from shared.fhir.versions import FhirFormat
from tests.clients import installation
from tests.clients.installation import Unavailable
from tests.conformance.conftest import Sides
from tests.conformance.servers import SERVERS, Server
from tests.conformance.side import Answer, Side

HAPI = [server for server in SERVERS if server.title == "HAPI FHIR"]
FORMATS = [FhirFormat.JSON, FhirFormat.XML]
# The validator's own error: it knows the links of a Bundle of DSTU2, but not of one inside another.
_DSTU2_LINK = re.compile(
    r"Bundle(.entry\[\d+\].resource.link\[\d+\]: Unrecognized property|/f:link: Undefined element)"
)
Errors = Callable[[Server, Answer], Awaitable[list[str]]]


@pytest.fixture(scope="module")
async def errors() -> AsyncIterator[Errors]:
    """Validates an answer's body, and gives the errors."""
    try:
        java = await asyncio.to_thread(installation.java, installation.CLIENTS / "java")
    except Unavailable as reason:
        pytest.skip(str(reason))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*java, "clients.Validator", stdin=pipe, stdout=pipe, limit=2**24)
    assert process.stdin is not None
    assert process.stdout is not None
    into, out = process.stdin, process.stdout

    async def validate(server: Server, answer: Answer) -> list[str]:
        into.write(f"{json.dumps({'version': server.version.value, 'text': answer.body.decode()})}\n".encode())
        async with asyncio.timeout(180):
            found: list[str] = json.loads(await out.readline())
        return [error for error in found if not _DSTU2_LINK.match(error)]

    yield validate
    into.close()
    await process.wait()


@pytest.fixture(
    params=[(server, format) for server in HAPI for format in FORMATS],
    ids=lambda pair: f"{pair[0].key}-{pair[1].value}",
)
async def asked(request: pytest.FixtureRequest, sides: Sides) -> tuple[Server, Side, dict[str, str]]:
    """A server, the gateway's side of it, and the headers that ask for a format."""
    server, format = request.param
    _, through = await sides(server, BatchMode.SPLIT)
    media_type = server.version.media_type(format)
    return server, through, {"Accept": media_type}


Asked = tuple[Server, Side, dict[str, str]]


async def test_the_statement(asked: Asked, errors: Errors) -> None:
    server, through, accept = asked
    answer = await through.get("metadata", **accept)
    assert answer.status == 200
    assert await errors(server, answer) == []


OUTCOMES: dict[str, tuple[int, str, str, Any, dict[str, str]]] = {
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
}


@pytest.mark.parametrize("name", OUTCOMES)
async def test_an_outcome(name: str, asked: Asked, errors: Errors) -> None:
    server, through, accept = asked
    status, method, path, body, headers = OUTCOMES[name]
    answer = await through.send(method, path, body, **accept | headers)
    assert answer.status == status
    assert b"OperationOutcome" in answer.body
    assert await errors(server, answer) == []


def _batch(*urls: str, method: str = "GET") -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": method, "url": url}} for url in urls],
    }


BUNDLES = {
    "of nothing": {"resourceType": "Bundle", "type": "batch"},
    "of one": _batch("Patient/1001"),
    "of the same twice": _batch("Patient/1001", "Patient/1001"),
    "of searches that find the same": _batch("Patient?_id=1001", "Patient?_id=1001", "Patient/1001"),
    "of what fails": _batch(
        "Patient/nobody", "Pateint/1", "Claim/1", "Location/ward_12", "a b", "Patient/1001?_summary=text"
    ),
    "of a deletion": _batch("Patient/nobody", method="DELETE"),
}


@pytest.mark.parametrize("name", BUNDLES)
async def test_a_batch(name: str, asked: Asked, errors: Errors) -> None:
    server, through, accept = asked
    answer = await through.send("POST", "", BUNDLES[name], **accept)
    assert b"batch-response" in answer.body
    assert await errors(server, answer) == []
