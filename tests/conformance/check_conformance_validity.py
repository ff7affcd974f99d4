"""The gateway's own resources are valid by HAPI's instance validator. Run by `make clients`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.directory.provider import BatchMode
from shared.fhir.versions import FhirFormat
from tests.clients import installation
from tests.clients.installation import Unavailable
from tests.conformance.conftest import Sides
from tests.conformance.interactions import batch
from tests.conformance.servers import HAPI, Server
from tests.conformance.side import Response, Side

# The validator's own error: it knows the links of a Bundle of DSTU2, but not of one inside another.
_DSTU2_LINK = re.compile(
    r"Bundle(.entry\[\d+\].resource.link\[\d+\]: Unrecognized property|/f:link: Undefined element)"
)
Errors = Callable[[Server, Response], Awaitable[list[str]]]


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
        async with asyncio.timeout(180):
            found: list[str] = json.loads(await out.readline())
        return [error for error in found if not _DSTU2_LINK.match(error)]

    yield validate
    into.close()
    await process.wait()


@dataclass(frozen=True)
class Asked:
    """The gateway's side of a server, in a format."""

    server: Server
    through: Side
    accept: dict[str, str]
    errors: Errors

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """A valid response."""
        response = await self.through.send(method, path, body, **self.accept | headers)
        assert await self.errors(self.server, response) == []
        return response


@pytest.fixture(
    params=[(server, format) for server in HAPI for format in FhirFormat],
    ids=lambda pair: f"{pair[0].key}-{pair[1].value}",
)
async def asked(request: pytest.FixtureRequest, sides: Sides, errors: Errors) -> Asked:
    server, format = request.param
    _, through = await sides(server, BatchMode.SPLIT)
    return Asked(server, through, {"Accept": server.version.media_type(format)}, errors)


async def test_the_statement(asked: Asked) -> None:
    assert (await asked.send("GET", "metadata")).status == 200


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
async def test_an_outcome(name: str, asked: Asked) -> None:
    status, method, path, body, headers = OUTCOMES[name]
    response = await asked.send(method, path, body, **headers)
    assert response.status == status
    assert b"OperationOutcome" in response.body


BUNDLES = {
    "of nothing": batch(),
    "of one": batch("Patient/1001"),
    "of the same twice": batch("Patient/1001", "Patient/1001"),
    "of searches that find the same": batch("Patient?_id=1001", "Patient?_id=1001", "Patient/1001"),
    "of what fails": batch(
        "Patient/nobody", "Pateint/1", "Claim/1", "Location/ward_12", "a b", "Patient/1001?_summary=text"
    ),
    "of a deletion": batch("Patient/nobody", method="DELETE"),
}


@pytest.mark.parametrize("name", BUNDLES)
async def test_a_batch(name: str, asked: Asked) -> None:
    assert b"batch-response" in (await asked.send("POST", "", BUNDLES[name])).body
