"""What a server answers through the gateway is what it answers itself."""

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
from tests.conformance.interactions import INTERACTIONS, batch
from tests.conformance.servers import SERVERS, Server
from tests.conformance.side import Answer
from tests.conformance.table import Cells

_SPLIT, _XML_SPLIT = "split_batch", "xml_split_batch"
_RELATIVE = re.compile(rb'"url":"(?!http)|<url value="(?!http)')
OF_THE_REQUEST = (400, 404, 405, 409, 410, 412, 413, 414, 415, 422)
FHIR = "{http://hl7.org/fhir}"


@pytest.mark.parametrize("name", INTERACTIONS)
async def test_the_answers_are_equal(server: Server, name: str, sides: Sides, cells: Cells) -> None:
    interaction = INTERACTIONS[name]
    direct, through = await sides(server, BatchMode.NATIVE)
    expected, answers = await interaction.ask(direct), await interaction.ask(through)
    assert all(answer.status < 500 for answer in expected)
    assert len(answers) == len(expected)
    for given, own in zip(answers, expected, strict=True):
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
    cells[name, server.key] = equal if interaction.done(last) else table.not_done(last.status)


def assert_silent(answer: Answer, base: str) -> None:
    """An answer tells nothing of where the provider is, not even percent-encoded."""
    said = unquote(f"{answer.headers}{answer.body!r}")
    assert urlsplit(base).netloc not in said


def assert_refused(answer: Answer, own: Answer) -> None:
    """What is not FHIR never gets through; its status does where it says what was wrong with the request."""
    assert answer.status == (own.status if own.status in OF_THE_REQUEST else 502)
    assert answer.document["resourceType"] == "OperationOutcome"


def assert_translated(answer: Answer, own: Answer) -> None:
    """A server's error in another format than was asked for is the same error in that format."""
    assert answer.status == own.status
    outcome = ElementTree.fromstring(answer.body)  # noqa: S314 (our own)
    codes = [code.attrib["value"] for code in outcome.findall(f"{FHIR}issue/{FHIR}code")]
    assert codes == [issue["code"] for issue in own.document["issue"]]


async def test_a_batch_taken_apart_is_what_its_requests_are_alone(server: Server, sides: Sides, cells: Cells) -> None:
    direct, through = await sides(server, BatchMode.SPLIT)
    answer = await through.send("POST", "", batch(through.base))
    assert answer.status == 200
    found = json.loads(through.neutral(answer).body, parse_float=str)
    assert found["type"] == "batch-response"
    requests = batch(direct.base)["entry"]
    for entry, request in zip(found["entry"], requests, strict=True):
        path = request["request"]["url"].removeprefix(f"{direct.base}/")
        alone = direct.neutral(await direct.get(path))
        assert entry["response"]["status"].startswith(f"{alone.status} ")
        resource = entry.get("resource") or entry["response"]["outcome"]
        assert resource == json.loads(alone.body, parse_float=str)
    assert_silent(answer, direct.base)
    cells[_SPLIT, server.key] = "equal"


async def test_a_batch_in_xml_is_taken_apart_too(server: Server, sides: Sides, cells: Cells) -> None:
    direct, through = await sides(server, BatchMode.SPLIT)
    xml = server.version.media_type(FhirFormat.XML)
    answer = await through.send("POST", "", xml_batch(through.base), Content_Type=xml, Accept=xml)
    assert answer.status == 200
    found = ElementTree.fromstring(through.neutral(answer).body)  # noqa: S314 (our own)
    assert_silent(answer, direct.base)
    in_xml = []
    for entry, request in zip(found.findall(f"{FHIR}entry"), batch(direct.base)["entry"], strict=True):
        own = await direct.get(request["request"]["url"].removeprefix(f"{direct.base}/"), Accept=xml)
        in_xml.append(own.body.startswith(b"<"))
        status = entry.find(f"{FHIR}response/{FHIR}status")
        resource = entry.find(f"{FHIR}resource/*")
        outcome = entry.find(f"{FHIR}response/{FHIR}outcome/*")
        answered = resource if resource is not None else outcome
        assert status is not None
        assert answered is not None
        if in_xml[-1]:
            assert status.attrib["value"].startswith(f"{own.status} ")
            alone = ElementTree.fromstring(direct.neutral(own).body)  # noqa: S314 (our own)
            assert ElementTree.tostring(answered) == ElementTree.tostring(alone)
        else:
            assert status.attrib["value"].startswith("404 " if own.status == 404 else "502 ")
            assert answered.tag == f"{FHIR}OperationOutcome"
    cells[_XML_SPLIT, server.key] = "equal" if all(in_xml) else "no XML: 502 in each entry"


def xml_batch(base: str) -> str:
    urls = "".join(
        f'<entry><request><method value="GET"/><url value={quoteattr(entry["request"]["url"])}/></request></entry>'
        for entry in batch(base)["entry"]
    )
    return f'<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/>{urls}</Bundle>'


def test_the_published_table_is_what_the_run_found(cells: Cells) -> None:
    rows = {name: interaction.title for name, interaction in INTERACTIONS.items()}
    rows |= {_SPLIT: "batch, taken apart by the gateway", _XML_SPLIT: "batch in XML, taken apart by the gateway"}
    if len(cells) < len(rows) * len(SERVERS):
        pytest.skip("not every server and interaction ran")
    table.publish(table.servers(rows, cells))
