"""A hospital is added in three steps, or not at all."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from local.hospitals.hospital import LAKESIDE, RIVERSIDE
from shared.directory.presets import PRESETS, Preset
from shared.directory.tenant_columns import COLUMNS
from shared.directory.tenant_registry import RowChange, TenantRegistry
from shared.fhir.versions import FhirVersion
from tests.onboarding.conftest import ACCESS, Onboarding, onboarding
from tests.portal.conftest import Changes, Page, Person, Portal

__all__ = ["onboarding"]

NEW = "/portal/tenants/new"
BASE = "http://127.0.0.1:9/fhir"


def wrong(page: Page) -> set[str]:
    """The fields with an error, each of which the summary leads to."""
    fields = set(re.findall(r'id="(\w+)-error"', page.text))
    assert fields == set(re.findall(r'<a href="#(\w+)">', page.text))
    assert all(re.search(rf'id="{id}"[^>]*aria-describedby="[^"]*{id}-error" aria-invalid', page.text) for id in fields)
    return fields


async def begin(admin: Person, preset: str, **values: str) -> dict[str, str]:
    """A form of step two as it comes, filled in."""
    page = await admin.get(f"{NEW}/{preset}")
    names = re.findall(r'<(?:input|select) id="(\w+)" name', page.text)
    shown = {name: page.field(name) for name in names if name != "RowKey"}
    return {**shown, "RowKey": "stu3", "PartitionKey": str(uuid4()), "BaseUrl": BASE, **values}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.id)
async def test_a_preset_fills_in_what_is_known_and_asks_for_the_rest(portal: Portal, preset: Preset) -> None:
    admin = await portal.admin()
    assert f'href="{NEW}/{preset.id}"' in (await admin.get(NEW)).text
    page = await admin.get(f"{NEW}/{preset.id}")
    assert page.status == 200
    assert f'<option value="{preset.row["RowKey"]}" selected>' in page.text
    for column in preset.asked:
        known = preset.row[column.name]
        assert page.field(column.name) == ("" if "<" in known else known)
    assert preset.needs_secret == ('id="credential"' in page.text)
    empty = await admin.post(f"{NEW}/{preset.id}")
    assert empty.status == 422
    needed = {column.name for column in preset.asked if preset.needs(column.name)}
    secret = {"AuthSecret", "credential"} if preset.needs_secret else set()
    assert wrong(empty) == {"PartitionKey", "RowKey", *needed, *secret}


async def test_a_hospital_is_added_with_its_credential_and_checked(
    portal: Portal, onboarding: Onboarding, changes: Changes
) -> None:
    admin, id = await portal.admin(), str(uuid4())
    url = await onboarding.start(RIVERSIDE) + RIVERSIDE.base_path
    form = await begin(admin, "password", BaseUrl=f"{url}/", Name="Riverside", RowKey="dstu2")
    form |= {"PartitionKey": f" {{{id.upper()}}} ", "value": "gateway:p"}
    assert form["AuthSecret"].startswith("hospital-")
    page = await admin.post(f"{NEW}/password", form)
    assert (page.status, "Riverside is added" in page.words) == (200, True)
    assert "Riverside (FHIR DSTU2): the app will load, and all that it reads is there." in page.words
    assert "let a client reach this hospital" in page.words
    provider = await portal.tenants.get(id, FhirVersion.DSTU2)
    assert provider is not None
    assert (provider.base_url, provider.auth.secret) == (url, form["AuthSecret"])
    assert getattr(await portal.vault.get(form["AuthSecret"]), "value", None) == "gateway:p"
    assert [(action, detail) for _, action, subject, detail in changes() if subject == f"{id}/dstu2"] == [
        ("tenant.set-secret", f"secret {form['AuthSecret']}"),
        ("tenant.set", "Auth, Name, BaseUrl, AuthSecret"),
        ("tenant.verify", ""),
    ]


async def test_what_the_admin_must_mend_of_a_new_row_is_told(portal: Portal, onboarding: Onboarding) -> None:
    admin = await portal.admin()
    origin = await onboarding.start(LAKESIDE)
    columns = {name: text.format(origin=origin) for name, text in ACCESS[LAKESIDE][1].items() if name != "Auth"}
    form = await begin(admin, "client-secret-basic", BaseUrl=origin + LAKESIDE.base_path, **columns)
    page = await admin.post(f"{NEW}/client-secret-basic", {**form, "value": "wr0ng"})
    assert page.status == 200
    assert "the app will not load" in page.words
    assert "The row and its credential are saved. Mend what is listed here" in page.words
    assert "For the hospital to mend" not in page.words
    assert "Set the credential" in page.words


@pytest.mark.parametrize(
    ("preset", "typed", "fields"),
    [
        ("open", {"PartitionKey": "contoso"}, {"PartitionKey"}),
        ("open", {"PartitionKey": "contoso", "RowKey": "r9", "BaseUrl": "ftp://x"},
         {"PartitionKey", "RowKey", "BaseUrl"}),
        ("password", {"value": "n0-colon"}, {"credential"}),
        ("password", {"value": "", "BaseUrl": ""}, {"credential", "BaseUrl"}),
        ("epic", {"AuthTokenUrl": "x", "value": "s3cret", "AuthSecret": "client-x"},
         {"AuthTokenUrl", "AuthClientId", "AuthSecret", "credential"}),
        ("redox", {"ExtraHeaders": "{", "AuthClientId": "x", "value": "s3cret"}, {"ExtraHeaders", "credential"}),
        ("certificate", {"value": "s3cret", "RowKey": ""}, {"credential", "RowKey"}),
        ("microsoft-identity", {"BaseUrl": "http://a.example"}, {"BaseUrl"}),
    ],
)  # fmt: skip
async def test_all_mistakes_are_told_at_once_and_nothing_is_stored(
    portal: Portal, preset: str, typed: Mapping[str, str], fields: set[str], changes: Changes
) -> None:
    admin = await portal.admin()
    form = await begin(admin, preset, Name="Kept", **typed)
    page = await admin.post(f"{NEW}/{preset}", form)
    assert (page.status, page.field("Name"), wrong(page)) == (422, "Kept", fields)
    assert changes() == []
    assert not any(value and value in page.text for name, value in form.items() if name == "value")
    if form.get("AuthSecret", "").startswith("hospital-"):
        assert await portal.vault.versions(form["AuthSecret"]) == []


async def test_a_row_that_is_there_is_not_added_again_and_no_credential_replaced(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, (id, _) = await portal.admin(), await portal.tenant()
    typed = str(uuid4())
    await portal.tenants_table.insert({"PartitionKey": typed.upper(), "RowKey": "STU3", "BaseUrl": BASE})
    for taken in (id, typed):
        form = await begin(admin, "password", PartitionKey=taken, value="us:p4ss")
        page = await admin.post(f"{NEW}/password", form)
        assert (page.status, wrong(page)) == (409, {"PartitionKey"})
        assert f'href="/portal/tenants/{taken}/stu3"' in page.text
        assert await portal.vault.versions(form["AuthSecret"]) == []

    # Someone else adds it between the portal's looking and its writing.
    write, id = TenantRegistry.write, str(uuid4())

    async def write_late(self: TenantRegistry, change: RowChange) -> None:
        monkeypatch.setattr(TenantRegistry, "write", write)
        await portal.tenants.set(id, FhirVersion.STU3, {"BaseUrl": BASE, "Name": "Theirs"})
        await self.write(change)

    monkeypatch.setattr(TenantRegistry, "write", write_late)
    form = await begin(admin, "password", PartitionKey=id, value="us:p4ss")
    page = await admin.post(f"{NEW}/password", form)
    assert (page.status, (await portal.provider(id)).name) == (409, "Theirs")
    assert "no row names it: leave the field empty to use it" in page.words
    assert "p4ss" not in page.text

    # A credential that is stored is used, and not replaced.
    again = {**form, "PartitionKey": str(uuid4())}
    page = await admin.post(f"{NEW}/password", {**again, "value": "us:other"})
    assert (page.status, wrong(page)) == (422, {"AuthSecret"})
    assert (await admin.post(f"{NEW}/password", {**again, "value": ""})).status == 200
    assert getattr(await portal.vault.get(form["AuthSecret"]), "value", None) == "us:p4ss"

    # Nor is one that has ended given a new value, which would go to the hospitals that name it.
    await portal.vault.set(form["AuthSecret"], "us:ended", expires=datetime.now(UTC) - timedelta(days=1))
    page = await admin.post(f"{NEW}/password", {**form, "PartitionKey": str(uuid4()), "value": "us:theirs"})
    assert (page.status, wrong(page)) == (422, {"AuthSecret"})
    assert len(await portal.vault.versions(form["AuthSecret"])) == 2


async def test_a_server_that_only_the_gateways_identity_opens_is_added_unchecked(portal: Portal) -> None:
    admin = await portal.admin()
    form = await begin(admin, "microsoft-identity", BaseUrl="https://a-b.fhir.azurehealthcareapis.com")
    page = await admin.post(f"{NEW}/microsoft-identity", form)
    assert page.location == f"/portal/tenants/{form['PartitionKey']}/stu3?done=saved"
    assert (await admin.get(f"{NEW}/nothing")).status == 404
    assert set(form) <= {*COLUMNS, "PartitionKey", "RowKey"}
