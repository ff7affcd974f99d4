"""The onboarding check in the portal, against the demo hospitals, whole and crippled."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from aiohttp import web

from local.hospitals.hospital import HOSPITALS, LAKESIDE, NORTHGATE, Hospital
from shared.fhir.interface import INTERFACE
from shared.stores.tables import Row
from tests.onboarding.conftest import Onboarding, type_of
from tests.portal.conftest import Portal


@pytest.fixture
async def onboarding(portal: Portal) -> AsyncIterator[Onboarding]:
    async with AsyncExitStack() as running:
        yield Onboarding(portal.vault, portal.application.settings, running)


async def onboard(portal: Portal, row: Row) -> str:
    """Writes the row for a tenant of its own, and gives the path of its check."""
    tenant = str(uuid4())
    await portal.tenants_table.insert({**row, "PartitionKey": tenant})
    return f"/portal/tenants/{tenant}/{row['RowKey']}/check"


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.key)
async def test_a_whole_hospital_works(portal: Portal, onboarding: Onboarding, hospital: Hospital) -> None:
    admin, path = await portal.admin(), await onboard(portal, await onboarding.row(hospital))
    assert f'action="{path}"' in (await admin.get(path.removesuffix("/check"))).text
    page = await admin.post(path)
    verdict = f"{hospital.name} (FHIR {hospital.version.name}): the app will load, and all that it reads is there."
    assert page.words.count(verdict) == 2  # at the top, and in the text for the hospital
    for interface in INTERFACE[hospital.version]:
        status = "not needed" if interface.type == "MedicationStatement" else "works"
        assert re.search(rf" {interface.type} {status} (\d+ ms|none) \d+ (all there|not seen|none) ", page.words), (
            interface.type
        )
    assert re.search(r" Patient POST Patient/_search\?given&family 200 [a-z/+]+ \d+ ms 3 ", page.words)
    assert "Patient name.given required 100 % (10 of 10)" in page.words
    assert "Problems" not in page.words


async def test_defects_of_a_server_are_told_with_what_to_do(portal: Portal, onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: dict[str, object]) -> web.Response | None:
        return web.json_response({}, status=404) if "/Condition" in request.path else None

    admin = await portal.admin()
    path = await onboard(portal, await onboarding.row(NORTHGATE, twist, Batch="native"))
    page = await admin.post(path)
    assert "the app will load, with gaps." in page.words
    assert re.search(r" Condition missing none 0 not seen ", page.words)
    assert "check BaseUrl; when other types are found, the server does not have this one" in page.words
    assert "set Batch=split in the row: the gateway then takes batches apart. Set it" in page.words
    edit = f"{path.removesuffix('/check')}/edit"
    assert f'<a href="{edit}#Batch">Set it</a>' in page.text
    assert 'id="Batch"' in (await admin.get(edit)).text
    assert re.search(r" batch POST \[base\] batch \d+ [a-z/+]+ Fails \d+ ms 1 ", page.words)
    wrong = await admin.post(await onboard(portal, await onboarding.row(LAKESIDE, secret="wrong")))
    assert "the app will not load." in wrong.words
    assert "401 invalid_client" in wrong.words


async def test_nothing_of_a_patient_is_on_the_page_or_in_a_log(
    portal: Portal, onboarding: Onboarding, caplog: pytest.LogCaptureFixture
) -> None:
    def twist(request: web.Request, body: dict[str, object]) -> web.Response | None:
        """Repeats the request in errors, as servers do."""
        if type_of(request) in ("Patient", "metadata"):
            return None
        return web.Response(text=f"no {request.raw_path}", status=500, content_type="text/html")

    admin, path = await portal.admin(), await onboard(portal, await onboarding.row(LAKESIDE, twist))
    caplog.set_level(logging.DEBUG)
    page = await admin.post(path, {"patient": "1001"})
    assert any(target.endswith("/Patient/1001") for target in onboarding.targets)
    forms = {body.split("=", 1)[1] for body in onboarding.bodies if re.fullmatch("(given|birthdate)=[^&]+", body)}
    assert len(forms) == 2
    for text in (page.text, *(record.getMessage() for record in caplog.records if record.name != "aiohttp.access")):
        assert not re.search(r"\b1001\b", text)
        assert not any(value in text for value in forms)


async def test_the_patient_can_be_named_and_the_check_is_audited(
    portal: Portal, onboarding: Onboarding, changes: Callable[[], list[tuple[str, ...]]]
) -> None:
    admin, path = await portal.admin(), await onboard(portal, await onboarding.row(Enabled=False))
    wrong = await admin.post(path, {"patient": "a/../b"})
    assert (wrong.status, onboarding.targets, changes()) == (422, [], [])
    assert 'id="patient-error"' in wrong.text
    assert "a/../b" not in wrong.text
    assert "the app will load, and" in (await admin.post(path, {"patient": " 1002 "})).words
    assert any(target.endswith("/Patient/1002") for target in onboarding.targets)
    assert changes() == [("grace@example.com", "tenant.verify", f"{path.split('/')[3]}/stu3", "")]
    nobody = await admin.post(path, {"patient": "nobody-has-this"})
    assert "the app will not load." in nobody.words
    assert "nobody-has-this" not in nobody.text


async def test_a_check_ends_in_time_with_its_calls_until_then(
    portal: Portal, onboarding: Onboarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twist(request: web.Request, body: object) -> None:
        if type_of(request) == "Observation":
            await asyncio.Event().wait()

    path = await onboard(portal, await onboarding.row(twist=twist))
    monkeypatch.setattr("shared.portal.check_page._MAX_SECONDS", 2)
    page = await (await portal.admin()).post(path)
    assert page.status == 200
    assert "the check was ended after 2 seconds. These calls had ended by then." in page.words
    assert re.search(r" statement GET metadata 200 [a-z/+]+ \d+ ms 3 ", page.words)
    assert f"./gateway tenant verify {path.split('/')[3]} stu3" in page.words
    assert "the app will" not in page.words


async def test_the_portals_own_identity_goes_to_no_server(
    portal: Portal, onboarding: Onboarding, changes: Callable[[], list[tuple[str, ...]]]
) -> None:
    origin = await onboarding.start(NORTHGATE)
    row = {"RowKey": "r4", "BaseUrl": origin + NORTHGATE.base_path, "Auth": "managed_identity"}
    admin, path = await portal.admin(), await onboard(portal, row)
    page = await admin.post(path)
    assert (page.status, onboarding.targets, changes()) == (409, [], [])
    for told in (page, await admin.get(path), await admin.get(path.removesuffix("/check"))):
        assert "the gateway's own managed identity, which the portal does not have" in told.words
        assert f'action="{path}"' not in told.text
