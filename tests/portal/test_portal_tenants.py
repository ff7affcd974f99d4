"""Tenants' rows, as admins keep them in the portal."""

import json
import logging
import re
from uuid import uuid4

import pytest

from shared.directory.tenant_row import COLUMNS
from shared.fhir.versions import FhirVersion
from shared.portal.tenant_form import FIELD_GROUPS
from shared.stores.vault import Vault
from tests.portal.conftest import Deployment

STU3 = FhirVersion.STU3
BASE = "https://fhir.riverside.example/stu3"


def path_of(tenant: str) -> str:
    return f"/portal/tenants/{tenant}/stu3"


async def tenant(deployment: Deployment, **columns: str) -> str:
    id = str(uuid4())
    await deployment.tenants.set(id, STU3, {"BaseUrl": BASE, **columns})
    return id


def test_every_column_has_one_field() -> None:
    columns = [field.column for group in FIELD_GROUPS for field in group.fields]
    assert sorted(columns) == sorted(COLUMNS)


async def test_a_tenant_is_added_in_any_spelling_of_its_id(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), str(uuid4())
    assert (await admin.get("/portal/tenants/new")).status == 200
    form = {
        "PartitionKey": f" {{{id.upper()}}}",
        "RowKey": "stu3",
        "BaseUrl": f"{BASE}/",
        "Auth": "basic",
        "AuthSecret": "x",
    }
    page = await admin.post("/portal/tenants/new", form)
    assert page.location == f"{path_of(id)}?done=saved"
    provider = await deployment.tenants.get(id, STU3)
    assert provider is not None
    assert (provider.base_url, provider.auth.secret) == (BASE, "x")
    assert BASE in (await admin.get(path_of(id))).text
    assert f'"{path_of(id)}"' in (await admin.get(f"/portal/tenants?q={id}")).text


@pytest.mark.parametrize(
    ("form", "id", "said"),
    [
        ({"PartitionKey": "contoso"}, "PartitionKey", "is not a GUID"),
        ({"RowKey": "r5"}, "RowKey", "is no FHIR version"),
        ({"BaseUrl": ""}, "BaseUrl", "is missing"),
        ({"BaseUrl": "ftp://x"}, "BaseUrl", "must begin with https://"),
        ({"Auth": "header"}, "AuthHeader", "is needed by Auth=header"),
        ({"AuthScope": "x"}, "AuthScope", "is not used by Auth=none"),
        ({"TimeoutSeconds": "soon"}, "TimeoutSeconds", "must be a number of seconds"),
        ({"Types": "patients"}, "Types", "must be a comma list"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field(
    deployment: Deployment, form: dict[str, str], id: str, said: str
) -> None:
    page = await (await deployment.admin()).post(
        "/portal/tenants/new", {"PartitionKey": str(uuid4()), "RowKey": "stu3", "BaseUrl": BASE, "Name": "Kept", **form}
    )
    assert page.status == 422
    assert re.search(rf'<a href="#{id}">[^<]*{re.escape(said)}', page.text)
    assert re.search(rf'id="{id}-error">.*{re.escape(said)}', page.text)
    assert re.search(rf'id="{id}"[^>]*aria-describedby="{id}-help {id}-error" aria-invalid', page.text)
    assert page.field("Name") == "Kept"


async def test_a_tenant_that_is_there_is_not_added_over(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), str(uuid4())
    await deployment.tenants_table.insert({"PartitionKey": id.upper(), "RowKey": "STU3", "BaseUrl": BASE})
    form = {"PartitionKey": id, "RowKey": "stu3", "BaseUrl": "https://other.example"}
    page = await admin.post("/portal/tenants/new", form)
    assert page.status == 409
    assert "has a row for stu3 already" in page.text


async def test_an_edit_changes_what_was_changed_and_no_more(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), await tenant(deployment, Name="Old", Enabled="false", TimeoutSeconds="2.5")
    form = await admin.get(f"{path_of(id)}/edit")
    values = {"Name": "New", "BaseUrl": BASE, "Enabled": "false", "TimeoutSeconds": "2.5", "etag": form.field("etag")}
    assert (await admin.post(f"{path_of(id)}/edit", values)).status == 303
    row = await deployment.tenants_table.get(id, "stu3")
    assert dict(row or {}) == {
        "PartitionKey": id,
        "RowKey": "stu3",
        "Name": "New",
        "BaseUrl": BASE,
        "Enabled": False,
        "TimeoutSeconds": 2.5,
    }


async def test_the_second_of_two_editors_is_told_and_shown_both(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), await tenant(deployment, Name="As it was", Batch="split")
    form = await admin.get(f"{path_of(id)}/edit")
    await deployment.tenants.set(id, STU3, {"Name": "Theirs"})
    mine = {"Name": "Mine", "BaseUrl": BASE, "Batch": "split"}
    page = await admin.post(f"{path_of(id)}/edit", {**mine, "etag": form.field("etag")})
    assert page.status == 409
    assert re.findall("Stored meanwhile: <code>(.*?)</code>", page.text) == ["Theirs"]
    assert page.field("Name") == "Mine"
    assert (await admin.post(f"{path_of(id)}/edit", {**mine, "etag": page.field("etag")})).status == 303
    provider = await deployment.tenants.get(id, STU3)
    assert provider is not None
    assert provider.name == "Mine"


async def test_an_edit_of_a_row_that_is_gone_loses_nothing(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), await tenant(deployment)
    form = await admin.get(f"{path_of(id)}/edit")
    await deployment.tenants.remove(id, STU3)
    page = await admin.post(f"{path_of(id)}/edit", {"Name": "Mine", "BaseUrl": BASE, "etag": form.field("etag")})
    assert page.status == 409
    assert "removed this row meanwhile" in page.text
    assert (page.field("PartitionKey"), page.field("Name")) == (id, "Mine")


async def test_a_row_typed_by_hand_is_shown_with_its_problem_and_mended(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), str(uuid4())
    key = f"{{{id.upper()}}}"
    await deployment.tenants_table.insert({"PartitionKey": key, "RowKey": "STU3", "BaseUri": BASE, "Batch": "Perhaps"})
    form = await admin.get(f"{path_of(id)}/edit")
    page = await admin.get(path_of(id))
    assert "BaseUri is not a column of this table" in page.text
    assert "Saving removes it" in form.text
    assert '<option value="perhaps" selected>' in form.text
    page = await admin.post(f"{path_of(id)}/edit", {"BaseUrl": BASE, "Batch": "split", "etag": form.field("etag")})
    assert page.status == 303, page.text
    assert dict(await deployment.tenants_table.get(id, "stu3") or {}) == {
        "PartitionKey": id,
        "RowKey": "stu3",
        "BaseUrl": BASE,
        "Batch": "split",
    }
    assert await deployment.tenants_table.get(key, "STU3") is None


async def test_a_tenant_is_switched_off_and_on(deployment: Deployment) -> None:
    admin, id = await deployment.admin(), await tenant(deployment)
    assert "within 60 seconds" in (await admin.get(f"{path_of(id)}/disable")).text.lower()
    for action, enabled in (("disable", False), ("enable", True)):
        assert (await admin.post(f"{path_of(id)}/{action}")).status == 303
        provider = await deployment.tenants.get(id, STU3)
        assert provider is not None
        assert provider.enabled is enabled


async def test_a_tenant_is_removed_by_who_types_its_name_or_id(deployment: Deployment) -> None:
    admin = await deployment.admin()
    for confirmation in ("  riverside GENERAL ", None):
        id = await tenant(deployment, Name="Riverside General")
        page = await admin.post(f"{path_of(id)}/remove", {"confirmation": "Lakeside"})
        assert page.status == 422
        assert await deployment.tenants.get(id, STU3) is not None
        page = await admin.post(f"{path_of(id)}/remove", {"confirmation": confirmation or f"{{{id.upper()}}}"})
        assert page.location == "/portal/tenants?done=removed"
        assert await deployment.tenants.get(id, STU3) is None
        assert (await admin.get(path_of(id))).status == 404


@pytest.fixture
def vault(deployment: Deployment) -> Vault:
    return deployment.application.vault


async def test_a_credential_is_stored_under_the_rows_name_and_never_shown(
    deployment: Deployment, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    admin, name = await deployment.admin(), f"riverside-{uuid4().hex}"
    id = await tenant(deployment, Auth="basic", AuthSecret=name)
    assert "the gateway can't get in without it" in (await admin.get(path_of(id))).text.replace("&#39;", "'")
    pem = "-----BEGIN KEY-----\nc2VjcmV0LXZhbHVl\n-----END KEY-----"
    with caplog.at_level(logging.DEBUG):
        page = await admin.post(
            f"{path_of(id)}/credential", {"name": name, "value": pem.replace("\n", "\r\n") + "\r\n"}
        )
    assert page.status == 303
    stored = await vault.get(name)
    assert stored is not None
    assert stored.value == pem
    assert "c2VjcmV0LXZhbHVl" not in caplog.text
    for path in ("", "/edit", "/credential"):
        assert "c2VjcmV0LXZhbHVl" not in (await admin.get(f"{path_of(id)}{path}")).text
    assert "Replace it" in (await admin.get(path_of(id))).text


async def test_only_a_secret_that_the_row_names_can_be_set(deployment: Deployment, vault: Vault) -> None:
    admin = await deployment.admin()
    id = await tenant(deployment, Auth="basic", AuthSecret="riverside")
    for name in ("token-signing-key", "another-hospitals", ""):
        before = await vault.versions(name or "none")
        page = await admin.post(f"{path_of(id)}/credential", {"name": name, "value": "x"})
        assert page.status == 409
        assert await vault.versions(name or "none") == before
    assert (await admin.post(f"{path_of(id)}/credential", {"name": "riverside", "value": "\r\n"})).status == 422
    nameless = await tenant(deployment)
    assert "The row names no secret" in (await admin.get(f"{path_of(nameless)}/credential")).text


async def test_markup_in_a_name_is_text(deployment: Deployment) -> None:
    admin, markup = await deployment.admin(), f"<script>alert('{uuid4()}')</script>\"><img src=x>"
    id = await tenant(deployment, Name=markup)
    for path in (
        "/portal/tenants",
        path_of(id),
        f"{path_of(id)}/edit",
        f"{path_of(id)}/remove",
        f"{path_of(id)}/disable",
    ):
        text = (await admin.get(path)).text
        assert "&lt;script&gt;alert(" in text
        assert "<script>" not in text
        assert "<img" not in text


async def test_a_list_is_searched_by_name_id_and_host_and_paged(deployment: Deployment) -> None:
    admin, word = await deployment.admin(), uuid4().hex
    ids = [str(uuid4()) for _ in range(60)]
    for place, id in enumerate(ids):
        columns = {"Name": f"Ward {place:02} {word}", "BaseUrl": f"https://{word}-{place:02}.example/fhir"}
        await deployment.tenants_table.insert({"PartitionKey": id, "RowKey": "stu3", **columns})
    await admin.post(f"{path_of(ids[0])}/disable")
    first = await admin.get(f"/portal/tenants?q={word.upper()}")
    assert [place for place, id in enumerate(ids) if id in first.text] == list(range(50))
    assert "1 to 50 of 60" in first.text
    second = await admin.get(f"/portal/tenants?q={word}&page=2")
    assert [place for place, id in enumerate(ids) if id in second.text] == list(range(50, 60))
    assert (await admin.get(f"/portal/tenants?q={word}&page=99999")).text == (
        await admin.get(f"/portal/tenants?q={word}&page=2")
    ).text
    for search in (f"{word}-07.EXAMPLE", f"ward 07 {word}", f"%7B{ids[7].upper()}%7D"):
        found = await admin.get(f"/portal/tenants?q={search}")
        assert [id for id in ids if id in found.text] == [ids[7]]
    assert "Show all tenants" in (await admin.get("/portal/tenants?q=nobody-has-this")).text


async def test_owners_have_no_tenants_pages(deployment: Deployment) -> None:
    owner, id = await deployment.owner(), await tenant(deployment, Name="Riverside")
    pages = ["/portal/tenants", "/portal/tenants/new", "/portal/tenants/import", "/portal/tenants/export", path_of(id)]
    pages += [f"{path_of(id)}/{page}" for page in ("edit", "disable", "remove", "credential")]
    for path in pages:
        page = await owner.get(path)
        assert page.status == 404, path
        assert "Riverside" not in page.text
    form = {"confirmation": id, "BaseUrl": "https://evil.example", "etag": "*", "PartitionKey": id, "RowKey": "r4"}
    forms = [
        "/portal/tenants/new",
        *(f"{path_of(id)}/{page}" for page in ("edit", "disable", "enable", "remove", "credential")),
    ]
    for path in forms:
        assert (await owner.post(path, form)).status == 404, path
    for path in ("/portal/tenants/import", "/portal/tenants/import/write"):
        assert (await owner.upload(path, {}, b"TenantId,FhirVersion\n")).status == 404
    provider = await deployment.tenants.get(id, STU3)
    assert provider is not None
    assert (provider.base_url, provider.enabled) == (BASE, True)


async def test_changes_are_in_the_audit_log_without_values(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    admin, id = await deployment.admin(), await tenant(deployment, Name="Old", Auth="basic", AuthSecret="audited")
    etag = (await admin.get(f"{path_of(id)}/edit")).field("etag")
    with caplog.at_level(logging.INFO, "gateway.audit"):
        form = {"Name": "New", "BaseUrl": BASE, "Auth": "basic", "AuthSecret": "audited", "AuthClientId": "me"}
        await admin.post(f"{path_of(id)}/edit", {**form, "etag": etag})
        await admin.post(f"{path_of(id)}/credential", {"name": "audited", "value": "hush"})
        await admin.post(f"{path_of(id)}/disable")
        await admin.post(f"{path_of(id)}/remove", {"confirmation": id})
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.audit"]
    assert [(line["actor"], line["action"], line["detail"]) for line in lines] == [
        ("grace@example.com", "tenant.set", "Name, AuthClientId"),
        ("grace@example.com", "tenant.set-secret", "secret audited"),
        ("grace@example.com", "tenant.disable", ""),
        ("grace@example.com", "tenant.remove", ""),
    ]
    assert {line["subject"] for line in lines} == {f"{id}/stu3"}
