"""The onboarding check in the portal, against the demo hospitals, whole and crippled."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from local.hospitals.hospital import LAKESIDE, NORTHGATE, RIVERSIDE
from shared.fhir.interface import INTERFACE
from shared.stores.tables import ACTIVITY, CHECKS, Row
from tests.onboarding.conftest import Onboarding, type_of
from tests.portal.conftest import Changes, Portal


@pytest.fixture
async def onboarding(portal: Portal) -> AsyncIterator[Onboarding]:
    async with AsyncExitStack() as running:
        yield Onboarding(portal.vault, portal.application.settings, running)


async def onboard(portal: Portal, row: Row) -> str:
    """Writes a row, and gives the path of its page."""
    await portal.tenants_table.insert(row)
    return f"/portal/tenants/{row['PartitionKey']}/{row['RowKey']}"


async def test_a_whole_hospital_works(portal: Portal, onboarding: Onboarding) -> None:
    admin, path = await portal.admin(), await onboard(portal, await onboarding.row(RIVERSIDE))
    assert f'action="{path}/check"' in (await admin.get(path)).text
    page = await admin.post(f"{path}/check")
    verdict = f"{RIVERSIDE.name} (FHIR DSTU2): the app will load, and all that it reads is there."
    assert page.words.count(verdict) == 2  # at the top, and in the text for the hospital
    for interface in INTERFACE[RIVERSIDE.version]:
        status = "not needed" if interface.type == "MedicationStatement" else "works"
        assert re.search(rf" {interface.type} {status} (\d+ ms|none) \d+ (all there|not seen|none) ", page.words)
    assert re.search(r" Patient POST Patient/_search\?given&family 200 [a-z/+]+ \d+ ms 3 ", page.words)
    assert "Patient name.given required 100 % (10 of 10)" in page.words
    assert "to mend" not in page.words


async def test_defects_of_a_server_are_told_with_what_to_do(portal: Portal, onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: object) -> web.Response | None:
        return web.json_response({}, status=404) if "/Condition" in request.path else None

    admin, path = await portal.admin(), await onboard(portal, await onboarding.row(NORTHGATE, twist, Batch="native"))
    page = await admin.post(f"{path}/check")
    assert "the app will load, with gaps." in page.words
    assert re.search(r" Condition missing none 0 not seen ", page.words)
    assert "check BaseUrl; when other types are found, the server does not have this one" in page.words
    ours, hospitals = page.words.split("For you to mend")[1].split("Resources")[0].split("For the hospital to mend")
    assert "set Batch=split in the row: the gateway then takes batches apart. Edit Batch" in ours
    assert "Condition there is nothing at this address (404)" in hospitals
    assert f'<a href="{path}/edit#Batch">Edit Batch</a>' in page.text
    assert 'id="Batch"' in (await admin.get(f"{path}/edit")).text
    assert re.search(r" batch POST \[base\] batch \d+ [a-z/+]+ Fails \d+ ms 1 ", page.words)
    path = await onboard(portal, await onboarding.row(LAKESIDE, secret="wrong"))
    wrong = (await admin.post(f"{path}/check")).words
    assert "the app will not load." in wrong
    assert "401 invalid_client" in wrong
    assert "Set the credential" in wrong
    assert "For the hospital to mend" not in wrong
    assert "we still have something of our own to mend" in wrong


async def test_a_patient_who_is_named_is_not_shown(portal: Portal, onboarding: Onboarding, changes: Changes) -> None:
    admin, path = await portal.admin(), await onboard(portal, await onboarding.row(Enabled=False))
    wrong = await admin.post(f"{path}/check", {"patient": "a/../b"})
    assert (wrong.status, onboarding.targets, changes()) == (422, [], [])
    assert 'id="patient-error"' in wrong.text
    assert "a/../b" not in wrong.text
    page = await admin.post(f"{path}/check", {"patient": " 1002 "})
    assert "the app will load, and" in page.words
    assert any(target.endswith("/Patient/1002") for target in onboarding.targets)
    forms = {body.split("=", 1)[1] for body in onboarding.bodies if re.fullmatch("(given|birthdate)=[^&]+", body)}
    assert len(forms) == 2
    assert not re.search("|".join([r"\b1002\b", *map(re.escape, forms)]), page.text)
    assert changes() == [("grace@example.com", "tenant.verify", "/".join(path.split("/")[3:]), "")]
    kept = [row for name in (CHECKS, ACTIVITY) async for row in portal.deployment.table(name).scan()]
    checked = await portal.application.checks.latest(*path.split("/")[3:4], LAKESIDE.version)
    assert not re.search("|".join([r"\b1002\b", *map(re.escape, forms)]), f"{kept} {checked}")
    nobody = await admin.post(f"{path}/check", {"patient": "nobody-has-this"})
    assert "the app will not load." in nobody.words
    assert "nobody-has-this" not in nobody.text


async def test_a_check_ends_in_time(portal: Portal, onboarding: Onboarding, monkeypatch: pytest.MonkeyPatch) -> None:
    async def twist(request: web.Request, body: object) -> None:
        if type_of(request) == "Observation":
            await asyncio.Event().wait()

    path = await onboard(portal, await onboarding.row(twist=twist))
    monkeypatch.setattr("shared.portal.check_page._MAX_SECONDS", 2)
    page = await (await portal.admin()).post(f"{path}/check")
    assert page.status == 200
    assert "the check was ended after 2 seconds. These calls had ended by then." in page.words
    assert re.search(r" statement GET metadata 200 [a-z/+]+ \d+ ms 3 ", page.words)
    assert f"./gateway tenant verify {path.split('/')[3]} stu3" in page.words
    assert "the app will" not in page.words


async def test_the_portals_identity_goes_to_no_server(portal: Portal, onboarding: Onboarding, changes: Changes) -> None:
    row = {**await onboarding.row(NORTHGATE, Auth="managed_identity"), "AuthHeader": "", "AuthSecret": ""}
    admin, path = await portal.admin(), await onboard(portal, row)
    page = await admin.post(f"{path}/check")
    assert (page.status, onboarding.targets, changes()) == (409, [], [])
    for told in (page, await admin.get(f"{path}/check"), await admin.get(path)):
        assert "the gateway's own managed identity, which the portal does not have" in told.words
        assert f'action="{path}/check"' not in told.text
