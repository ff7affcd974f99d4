"""Tenants' rows, as admins keep them in the portal."""

import logging
import re
from collections.abc import Callable
from uuid import uuid4

import pytest
import trustme

from shared.directory.tenant_registry import RowChange, TenantRegistry
from shared.fhir.versions import FhirVersion
from tests.portal.conftest import Changes, Page, Portal

STU3 = FhirVersion.STU3
BASE = "https://fhir.riverside.example/stu3"
NEW = "/portal/tenants/new"
Meanwhile = Callable[[str, dict[str, str]], None]


async def test_all_problems_are_said_beside_their_fields(portal: Portal) -> None:
    admin, (_, path) = await portal.admin(), await portal.tenant(Name="Old")
    etag = (await admin.get(f"{path}/edit")).field("etag")
    typed = {"Name": "Kept", "BaseUrl": "", "Auth": "header", "Types": "Pateint", "etag": etag}
    page = await admin.post(f"{path}/edit", typed)
    assert (page.status, page.field("Name")) == (422, "Kept")
    for id, said in {
        "BaseUrl": "is missing",
        "AuthHeader": "is needed by Auth=header",
        "AuthSecret": "is needed by Auth=header",
        "Types": "is no resource type of STU3: did you mean Patient?",
    }.items():
        assert re.search(rf'<a href="#{id}">[^<]*{re.escape(said)}', page.text)
        assert re.search(rf'id="{id}-error">.*{re.escape(said)}', page.text)
        assert re.search(rf'id="{id}"[^>]*aria-describedby="{id}-help {id}-error" aria-invalid', page.text)


async def test_an_edit_changes_its_own_columns_and_no_more(portal: Portal) -> None:
    admin, (id, path) = await portal.admin(), await portal.tenant(Name="Old", Enabled="false", TimeoutSeconds="2.5")
    values = {"Name": "New", "BaseUrl": BASE, "Enabled": "false", "TimeoutSeconds": "2.5"}
    etag = (await admin.get(f"{path}/edit")).field("etag")
    assert (await admin.post(f"{path}/edit", {**values, "TimeoutSeconds": "soon", "etag": etag})).status == 422
    assert (await admin.post(f"{path}/edit", {**values, "etag": etag})).status == 303
    row = dict(await portal.tenants_table.get(id, "stu3") or {})
    assert row == {"PartitionKey": id, "RowKey": "stu3", **values, "Enabled": False, "TimeoutSeconds": 2.5}


@pytest.fixture
def meanwhile(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Lets someone else set columns of a row between the portal's next reading and its writing."""
    write = TenantRegistry.write

    def set_late(id: str, columns: dict[str, str]) -> None:
        async def write_late(self: TenantRegistry, change: RowChange) -> None:
            monkeypatch.setattr(TenantRegistry, "write", write)
            await portal.tenants.set(id, STU3, columns)
            await self.write(change)

        monkeypatch.setattr(TenantRegistry, "write", write_late)

    return set_late


async def test_the_second_of_two_editors_is_told_and_shown_both(portal: Portal, meanwhile: Meanwhile) -> None:
    """Also when the other saves between the portal's reading and its writing, removes the row, or adds it first."""
    admin, (id, path) = await portal.admin(), await portal.tenant(Name="As it was", Batch="split")
    mine = {"Name": "Mine", "BaseUrl": BASE, "Batch": "split"}
    form = await admin.get(f"{path}/edit")

    async def refused_and_shown(form: Page, theirs: str) -> Page:
        page = await admin.post(f"{path}/edit", {**mine, "etag": form.field("etag")})
        assert (page.status, page.field("Name")) == (409, "Mine")
        assert re.findall("Stored meanwhile: <code>(.*?)</code>", page.text) == [theirs]
        assert (await portal.provider(id)).name == theirs
        return page

    await portal.tenants.set(id, STU3, {"Name": "Theirs"})
    page = await refused_and_shown(form, "Theirs")
    meanwhile(id, {"Name": "Later"})
    page = await refused_and_shown(page, "Later")
    assert (await admin.post(f"{path}/edit", {**mine, "etag": page.field("etag")})).status == 303
    assert (await portal.provider(id)).name == "Mine"
    form = await admin.get(f"{path}/edit")
    await portal.tenants.remove(id, STU3)
    page = await admin.post(f"{path}/edit", {**mine, "etag": form.field("etag")})
    assert (page.status, page.field("Name")) == (409, "Mine")
    assert "removed this row meanwhile" in page.text
    meanwhile(id, {"Name": "Theirs", "BaseUrl": BASE, "Batch": "split"})
    page = await refused_and_shown(page, "Theirs")
    await portal.tenants.remove(id, STU3)
    page = await admin.post(f"{path}/edit", {**mine, "etag": page.field("etag")})
    assert (await admin.post(f"{path}/edit", {**mine, "etag": page.field("etag")})).status == 303
    assert (await portal.provider(id)).name == "Mine"


async def test_a_row_typed_by_hand_is_shown_with_its_problem_and_mended(portal: Portal) -> None:
    admin, id = await portal.admin(), str(uuid4())
    key, path = f"{{{id.upper()}}}", f"/portal/tenants/{id}/stu3"
    await portal.tenants_table.insert({"PartitionKey": key, "RowKey": "STU3", "BaseUri": BASE, "Batch": "Perhaps"})
    form = await admin.get(f"{path}/edit")
    assert "BaseUri is not a column of this table" in (await admin.get(path)).text
    for refused in [await admin.post(f"{path}/{page}") for page in ("enable", "credential", "check")]:
        assert (refused.status, "Edit the row first." in refused.text) == (409, True)
    assert "Saving removes it" in form.text
    assert '<option value="perhaps" selected>' in form.text
    page = await admin.post(f"{path}/edit", {"BaseUrl": BASE, "Batch": "split", "etag": form.field("etag")})
    assert page.status == 303, page.text
    row = dict(await portal.tenants_table.get(id, "stu3") or {})
    assert row == {"PartitionKey": id, "RowKey": "stu3", "BaseUrl": BASE, "Batch": "split"}
    assert await portal.tenants_table.get(key, "STU3") is None


async def test_a_tenant_is_removed_by_whoever_types_its_name_or_id(portal: Portal) -> None:
    admin = await portal.admin()
    for confirmation in ("  riverside GENERAL ", None):
        id, path = await portal.tenant(Name="Riverside General")
        assert (await admin.get(f"{path}/remove")).status == 200
        assert (await admin.post(f"{path}/remove", {"confirmation": "Lakeside"})).status == 422
        assert await portal.tenants.get(id, STU3) is not None
        page = await admin.post(f"{path}/remove", {"confirmation": confirmation or f"{{{id.upper()}}}"})
        assert page.location == "/portal/tenants?done=removed"
        assert await portal.tenants.get(id, STU3) is None
        assert (await admin.get(path)).status == 404


async def test_a_credential_is_stored_and_never_shown(portal: Portal, caplog: pytest.LogCaptureFixture) -> None:
    admin, name = await portal.admin(), f"riverside-{uuid4().hex}"
    _, path = await portal.tenant(Auth="mtls", AuthSecret=name)
    assert "The gateway can't get in without it" in (await admin.get(path)).words
    pem = trustme.CA().issue_cert("gateway.example.com").private_key_and_cert_chain_pem.bytes().decode().strip()
    line = pem.splitlines()[1]
    sent = pem.replace("\n", "\r\n") + "\r\n"
    with caplog.at_level(logging.DEBUG):
        assert (await admin.post(f"{path}/credential", {"name": name, "value": sent})).status == 303
    assert getattr(await portal.vault.get(name), "value", None) == pem
    assert line not in caplog.text
    for page in ("", "/edit", "/credential"):
        assert line not in (await admin.get(f"{path}{page}")).text
    assert "Replace it" in (await admin.get(path)).text


async def test_only_a_secret_that_the_row_names_can_be_set(portal: Portal) -> None:
    admin, (_, path) = await portal.admin(), await portal.tenant(Auth="basic", AuthSecret="riverside")
    for name in ("token-signing-key", "another-hospitals", ""):
        before = await portal.vault.versions(name or "none")
        assert (await admin.post(f"{path}/credential", {"name": name, "value": "x"})).status == 409
        assert await portal.vault.versions(name or "none") == before
    for value in ("\r\n", "a:" + "x" * 25_600, "p4ssw0rd"):
        page = await admin.post(f"{path}/credential", {"name": "riverside", "value": value})
        assert page.status == 422
        assert "The value must be user:password, since the row has no client ID" in page.words
        assert "p4ssw0rd" not in page.text
    _, nameless = await portal.tenant()
    assert "The row names no secret" in (await admin.get(f"{nameless}/credential")).text


async def test_markup_in_a_name_is_text(portal: Portal) -> None:
    admin = await portal.admin()
    _, path = await portal.tenant(Name="<script>alert('x')</script>\"><img src=x>")
    await admin.post(f"{path}/disable")
    for page in ("/portal/tenants", path, f"{path}/edit", f"{path}/remove", f"{path}/disable"):
        text = (await admin.get(page)).text
        found = [markup in text for markup in ("&lt;script&gt;alert(", "<script>", "<img")]
        assert found == [True, False, False], page


async def test_a_list_is_searched_by_name_id_and_host_and_paged(portal: Portal) -> None:
    admin, word = await portal.admin(), uuid4().hex
    ids = [str(uuid4()) for _ in range(60)]
    for place, id in enumerate(ids):
        columns = {"Name": f"Ward {place:02} {word}", "BaseUrl": f"https://{word}-{place:02}.example/fhir"}
        await portal.tenants_table.insert({"PartitionKey": id, "RowKey": "stu3", **columns})
    await admin.post(f"/portal/tenants/{ids[0]}/stu3/disable")
    first = await admin.get(f"/portal/tenants?q={word.upper()}")
    assert [place for place, id in enumerate(ids) if id in first.text] == list(range(50))
    assert "1 to 50 of 60" in first.text
    second = await admin.get(f"/portal/tenants?q={word}&page=2")
    assert [place for place, id in enumerate(ids) if id in second.text] == list(range(50, 60))
    assert (await admin.get(f"/portal/tenants?q={word}&page=99999")).text == second.text
    for search in (f"{word}-07.EXAMPLE", f"ward 07 {word}", f"%7B{ids[7].upper()}%7D"):
        found = await admin.get(f"/portal/tenants?q={search}")
        assert [id for id in ids if id in found.text] == [ids[7]]
    assert "Show all hospitals" in (await admin.get("/portal/tenants?q=nobody-has-this")).text
    broken = {"PartitionKey": f"contoso {word}", "RowKey": "stu3", "BaseUrl": "https://[::1"}
    await portal.tenants_table.insert(broken)
    await admin.post(f"/portal/tenants/{ids[0]}/stu3/enable")
    assert "mend it in Storage Explorer" in (await admin.get(f"/portal/tenants?q=contoso {word}")).text


async def test_owners_have_no_tenants_pages(portal: Portal) -> None:
    owner, (id, path) = await portal.owner(), await portal.tenant(Name="Riverside")
    forms = [f"{path}/{page}" for page in ("edit", "disable", "remove", "credential", "check")] + [NEW, f"{NEW}/open"]
    imports = ["/portal/tenants/import", "/portal/tenants/import/write"]
    for page in (*forms, *imports, path, "/portal/tenants", "/portal/tenants/export"):
        got = await owner.get(page)
        assert (got.status, "Riverside" in got.text) == (404, False), page
    form = {"confirmation": id, "BaseUrl": "https://evil.example", "etag": "*", "PartitionKey": id, "RowKey": "r4"}
    for page in (*forms, f"{path}/enable"):
        assert (await owner.post(page, form)).status == 404, page
    for page in imports:
        assert (await owner.upload(page, {}, b"TenantId,FhirVersion\n")).status == 404
    provider = await portal.provider(id)
    assert (provider.base_url, provider.enabled) == (BASE, True)
    for nowhere in (f"/portal/tenants/{uuid4()}/stu3", "/portal/tenants/contoso/stu3", f"/portal/tenants/{id}/r6"):
        assert (await (await portal.admin()).get(nowhere)).status == 404
        assert (await (await portal.admin()).post(f"{nowhere}/check")).status == 404


async def test_changes_take_effect_and_are_audited_without_values(portal: Portal, changes: Changes) -> None:
    admin, (id, path) = await portal.admin(), await portal.tenant(Name="Old", Auth="basic", AuthSecret="audited")
    form = {"Name": "New", "BaseUrl": BASE, "Auth": "basic", "AuthSecret": "audited", "AuthClientId": "me"}
    await admin.post(f"{path}/edit", {**form, "etag": (await admin.get(f"{path}/edit")).field("etag")})
    await admin.post(f"{path}/credential", {"name": "audited", "value": "hush"})
    assert "within 60 seconds" in (await admin.get(f"{path}/disable")).text.lower()
    for action, enabled in (("disable", False), ("enable", True)):
        assert (await admin.post(f"{path}/{action}")).status == 303
        assert (await portal.provider(id)).enabled is enabled
    await admin.post(f"{path}/remove", {"confirmation": id})
    expected = [("set", "Name, AuthClientId"), ("set-secret", "secret audited")]
    expected += [(word, "") for word in ("disable", "enable", "remove")]
    who, row = "grace@example.com", f"{id}/stu3"
    assert changes() == [(who, f"tenant.{action}", row, detail) for action, detail in expected]
