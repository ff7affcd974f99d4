"""The onboarding check in the portal, against the demo hospitals, whole and crippled."""

import asyncio
import html
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from aiohttp import web

from local.hospitals.hospital import HOSPITALS, LAKESIDE, NORTHGATE, Hospital
from shared.fhir.interface import INTERFACE
from shared.stores.tables import Row
from tests.onboarding.conftest import Onboarding, type_of
from tests.portal.conftest import Deployment, Page


@pytest.fixture
async def onboarding(deployment: Deployment) -> AsyncIterator[Onboarding]:
    async with AsyncExitStack() as running:
        yield Onboarding(deployment.application.vault, deployment.application.settings, running)


async def onboard(deployment: Deployment, row: Row) -> str:
    """Writes the row for a tenant of its own, and gives the path of its check."""
    tenant = str(uuid4())
    await deployment.tenants_table.insert({**row, "PartitionKey": tenant})
    return f"/portal/tenants/{tenant}/{row['RowKey']}/check"


def seen(page: Page) -> str:
    """What a person reads on a page, in one line."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.key)
async def test_a_whole_hospital_works(deployment: Deployment, onboarding: Onboarding, hospital: Hospital) -> None:
    admin, path = await deployment.admin(), await onboard(deployment, await onboarding.row(hospital))
    assert f'action="{path}"' in (await admin.get(path.removesuffix("/check"))).text
    page = await admin.post(path)
    assert page.status == 200
    text = seen(page)
    verdict = f"{hospital.name} (FHIR {hospital.version.name}): the app will load, and all that it reads is there."
    assert text.count(verdict) == 2  # at the top, and in what goes to the hospital
    for interface in INTERFACE[hospital.version]:
        standing = "not needed" if interface.type == "MedicationStatement" else "works"
        assert re.search(rf" {interface.type} {standing} (\d+ ms|none) \d+ (all there|not seen|none) ", text), (
            interface.type
        )
    assert re.search(r" Patient POST Patient/_search\?given&family 200 [a-z/+]+ \d+ ms 3 ", text)
    assert "Patient name.given required 100 % (10 of 10)" in text
    assert "Problems" not in text


async def test_what_a_server_lacks_is_told_with_what_to_do(deployment: Deployment, onboarding: Onboarding) -> None:
    def twist(request: web.Request, body: dict[str, object]) -> web.Response | None:
        return web.json_response({}, status=404) if "/Condition" in request.path else None

    row = await onboarding.row(NORTHGATE, twist, Batch="native")
    admin, path = await deployment.admin(), await onboard(deployment, row)
    page = await admin.post(path)
    text = seen(page)
    assert "the app will load, with gaps." in text
    assert re.search(r" Condition missing none 0 not seen ", text)
    assert "check BaseUrl; when other types are found, the server does not have this one" in text
    assert "set Batch=split in the row: the gateway then takes batches apart. Set it" in text
    edit = f"{path.removesuffix('/check')}/edit"
    assert f'<a href="{edit}#Batch">Set it</a>' in page.text
    assert 'id="Batch"' in (await admin.get(edit)).text
    assert re.search(r" batch POST \[base\] batch \d+ [a-z/+]+ Fails \d+ ms 1 ", text)


async def test_a_server_that_refuses_the_credential_keeps_the_app_from_loading(
    deployment: Deployment, onboarding: Onboarding
) -> None:
    path = await onboard(deployment, await onboarding.row(LAKESIDE, secret="wrong"))
    text = seen(await (await deployment.admin()).post(path))
    assert "the app will not load." in text
    assert "401 invalid_client" in text


async def test_nothing_of_a_patient_is_on_the_page_or_in_a_log(
    deployment: Deployment, onboarding: Onboarding, caplog: pytest.LogCaptureFixture
) -> None:
    def twist(request: web.Request, body: dict[str, object]) -> web.Response | None:
        """Repeats what was asked in errors, as servers do."""
        if type_of(request) in ("Patient", "metadata"):
            return None
        return web.Response(text=f"no {request.raw_path}", status=500, content_type="text/html")

    admin, path = await deployment.admin(), await onboard(deployment, await onboarding.row(LAKESIDE, twist))
    caplog.set_level(logging.DEBUG)
    page = await admin.post(path, {"patient": "1001"})
    asked = [target for target in onboarding.targets if target.endswith("/Patient/1001")]
    forms = {body.split("=", 1)[1] for body in onboarding.bodies if re.fullmatch("(given|birthdate)=[^&]+", body)}
    assert asked
    assert len(forms) == 2
    logged = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    for text in (re.sub(r'name="csrf" value="[^"]*"', "", page.text), *logged):
        assert not re.search(r"\b1001\b", text)
        assert not any(value in text for value in forms)


async def test_the_patient_can_be_named(deployment: Deployment, onboarding: Onboarding) -> None:
    admin, path = await deployment.admin(), await onboard(deployment, await onboarding.row())
    assert "the app will load, and" in seen(await admin.post(path, {"patient": " 1002 "}))
    assert any(target.endswith("/Patient/1002") for target in onboarding.targets)
    nobody = await admin.post(path, {"patient": "nobody-has-this"})
    assert "the app will not load." in seen(nobody)
    assert "nobody-has-this" not in nobody.text
    onboarding.targets.clear()
    wrong = await admin.post(path, {"patient": "a/../b"})
    assert (wrong.status, onboarding.targets) == (422, [])
    assert 'id="patient-error"' in wrong.text
    assert "a/../b" not in wrong.text


async def test_a_check_ends_in_time_with_what_it_found(
    deployment: Deployment, onboarding: Onboarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twist(request: web.Request, body: object) -> None:
        if type_of(request) == "Observation":
            await asyncio.Event().wait()

    path = await onboard(deployment, await onboarding.row(twist=twist))
    monkeypatch.setattr("shared.portal.check_page._MOST_SECONDS", 3)
    page = await (await deployment.admin()).post(path)
    text = seen(page)
    assert page.status == 200
    assert "the check was ended after 3 seconds. These calls had ended by then." in text
    assert re.search(r" statement GET metadata 200 [a-z/+]+ \d+ ms 3 ", text)
    assert f"python -m admin tenant verify {path.split('/')[3]} stu3" in text
    assert "the app will" not in text


async def test_who_checked_which_tenant_is_audited(
    deployment: Deployment, onboarding: Onboarding, caplog: pytest.LogCaptureFixture
) -> None:
    admin, path = await deployment.admin(), await onboard(deployment, await onboarding.row(Enabled=False))
    with caplog.at_level(logging.INFO, "gateway.audit"):
        assert (await admin.get(path)).status == 200
        await admin.post(path, {"patient": "not an id"})
        await admin.post(path, {"patient": "1001"})
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.audit"]
    tenant = path.split("/")[3]
    assert lines == [
        {"event": "change", "actor": "grace@example.com", "action": "tenant.verify", "subject": f"{tenant}/stu3"}
        | {"detail": ""}
    ]


async def test_a_row_that_cannot_be_used_is_mended_first(deployment: Deployment) -> None:
    admin = await deployment.admin()
    path = await onboard(deployment, {"RowKey": "r4", "BaseUrl": "https://fhir.example", "Acess": "write"})
    page = await admin.post(path)
    assert page.status == 409
    assert "Acess is not a column of this table. Edit the row first." in seen(page)
    assert path not in (await admin.get(path.removesuffix("/check"))).text
    for nowhere in (f"/portal/tenants/{uuid4()}/r4/check", "/portal/tenants/contoso/r4/check"):
        assert (await admin.post(nowhere)).status == 404


async def test_the_portals_own_identity_goes_to_no_server(
    deployment: Deployment, onboarding: Onboarding, caplog: pytest.LogCaptureFixture
) -> None:
    origin = await onboarding.start(NORTHGATE)
    row = {"RowKey": "r4", "BaseUrl": origin + NORTHGATE.base_path, "Auth": "managed_identity"}
    admin, path = await deployment.admin(), await onboard(deployment, row)
    with caplog.at_level(logging.INFO, "gateway.audit"):
        page = await admin.post(path)
    assert (page.status, onboarding.targets) == (409, [])
    assert "tenant.verify" not in caplog.text
    for told in (page, await admin.get(path), await admin.get(path.removesuffix("/check"))):
        assert "the gateway's own managed identity, which the portal does not have" in seen(told)
        assert f'action="{path}"' not in told.text


async def test_owners_check_nothing(deployment: Deployment, onboarding: Onboarding) -> None:
    owner, path = await deployment.owner(), await onboard(deployment, await onboarding.row())
    assert [(await owner.get(path)).status, (await owner.post(path)).status] == [404, 404]
    admin = await deployment.admin()
    assert (await admin.post(path, {"csrf": "x"})).status == 403
    assert onboarding.targets == []
