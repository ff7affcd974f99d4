"""A server's responses through the gateway are its own. Run by `make clients`."""

import json
import re
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest

from shared.directory.provider import BatchMode
from shared.fhir.versions import FhirFormat
from tests.conformance import table
from tests.conformance.conftest import Sides
from tests.conformance.interactions import INTERACTIONS, chart
from tests.conformance.servers import SERVERS, Server, releases
from tests.conformance.side import Response, Side
from tests.conformance.table import Cells

_SPLIT, _XML_SPLIT = "batch, taken apart by the gateway", "batch in XML, taken apart by the gateway"
_RELATIVE = re.compile(rb'"url":"(?!http)|<url value="(?!http)')
OF_THE_REQUEST = (400, 404, 405, 409, 410, 412, 413, 414, 415, 422)
FHIR = "{http://hl7.org/fhir}"


@pytest.mark.parametrize("title", INTERACTIONS)
async def test_the_responses_are_equal(server: Server, title: str, sides: Sides, cells: Cells) -> None:
    interaction = INTERACTIONS[title]
    direct, through = await sides(server, BatchMode.NATIVE)
    expected, responses = await interaction.send(direct), await interaction.send(through)
    assert all(response.status < 500 for response in expected)
    for given, own in zip(responses, expected, strict=True):
        if not own.is_fhir:
            assert_refused(given, own)
        elif own.status >= 400 and given.format is not own.format:
            assert_translated(given, own)
        else:
            assert through.neutral(given) == direct.neutral(own)
        assert_silent(given, direct.base)
        assert given.headers.get("Location", through.base).startswith(through.base)
        assert not _RELATIVE.search(given.body)
    last = expected[-1]
    equal = "equal" if last.is_fhir else table.NO_FHIR
    cells[title, server.key] = equal if interaction.is_done(last) else f"not done ({last.status})"


def assert_silent(response: Response, base: str) -> None:
    """A response tells nothing of where the provider is, not even percent-encoded."""
    assert urlsplit(base).netloc not in unquote(f"{response.headers}{response.body!r}")


def assert_refused(response: Response, own: Response) -> None:
    """A body that is not FHIR never gets through; its status does where it says what was wrong with the request."""
    assert response.status == (own.status if own.status in OF_THE_REQUEST else 502)
    assert response.document["resourceType"] == "OperationOutcome"


def assert_translated(response: Response, own: Response) -> None:
    """A server's error in another format than was asked for is the same error in that format."""
    assert response.status == own.status
    outcome = ElementTree.fromstring(response.body)  # noqa: S314 (our own)
    codes = [code.attrib["value"] for code in outcome.findall(f"{FHIR}issue/{FHIR}code")]
    assert codes == [issue["code"] for issue in own.document["issue"]]


async def each_alone(direct: Side, **headers: str) -> list[Response]:
    """The server's own responses to the requests of the chart's batch."""
    urls = [entry["request"]["url"].removeprefix(f"{direct.base}/") for entry in chart(direct.base)["entry"]]
    return [await direct.get(url, **headers) for url in urls]


async def test_a_batch_taken_apart_is_what_its_requests_are_alone(server: Server, sides: Sides, cells: Cells) -> None:
    direct, through = await sides(server, BatchMode.SPLIT)
    response = await through.send("POST", "", chart(through.base))
    assert response.status == 200
    assert_silent(response, direct.base)
    found = json.loads(through.neutral(response).body, parse_float=str)
    assert found["type"] == "batch-response"
    for entry, own in zip(found["entry"], await each_alone(direct), strict=True):
        alone = direct.neutral(own)
        assert entry["response"]["status"].startswith(f"{alone.status} ")
        resource = entry.get("resource") or entry["response"]["outcome"]
        assert resource == json.loads(alone.body, parse_float=str)
    cells[_SPLIT, server.key] = "equal"


async def test_a_batch_in_xml_is_taken_apart_too(server: Server, sides: Sides, cells: Cells) -> None:
    direct, through = await sides(server, BatchMode.SPLIT)
    xml = server.version.media_type(FhirFormat.XML)
    response = await through.send("POST", "", xml_batch(through.base), Content_Type=xml, Accept=xml)
    assert response.status == 200
    assert_silent(response, direct.base)
    found = ElementTree.fromstring(through.neutral(response).body)  # noqa: S314 (our own)
    alone = await each_alone(direct, Accept=xml)
    for entry, own in zip(found.findall(f"{FHIR}entry"), alone, strict=True):
        status = entry.find(f"{FHIR}response/{FHIR}status")
        given = next(iter((*entry.findall(f"{FHIR}resource/*"), *entry.findall(f"{FHIR}response/{FHIR}outcome/*"))))
        assert status is not None
        if own.body.startswith(b"<"):
            assert status.attrib["value"].startswith(f"{own.status} ")
            expected = ElementTree.fromstring(direct.neutral(own).body)  # noqa: S314 (our own)
            assert ElementTree.tostring(given) == ElementTree.tostring(expected)
        else:
            assert status.attrib["value"].startswith("404 " if own.status == 404 else "502 ")
            assert given.tag == f"{FHIR}OperationOutcome"
    in_xml = all(own.body.startswith(b"<") for own in alone)
    cells[_XML_SPLIT, server.key] = "equal" if in_xml else "no XML: 502 in each entry"


def xml_batch(base: str) -> str:
    urls = "".join(
        f'<entry><request><method value="GET"/><url value={quoteattr(entry["request"]["url"])}/></request></entry>'
        for entry in chart(base)["entry"]
    )
    return f'<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/>{urls}</Bundle>'


def test_the_published_table_is_what_the_run_found(cells: Cells) -> None:
    titles = [*INTERACTIONS, _SPLIT, _XML_SPLIT]
    if not {(title, server.key) for title in titles for server in SERVERS} <= cells.keys():
        pytest.skip("not every server and interaction ran")
    lines = [["Interaction", *(f"{server.title} {server.version.name}" for server in SERVERS)]]
    lines.append(["release", *(releases()[server.title] for server in SERVERS)])
    table.publish([*lines, *([title, *(cells[title, server.key] for server in SERVERS)] for title in titles)])
