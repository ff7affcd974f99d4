"""What an admin sees of hospitals: the overview, the list with its states, and each one's page."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import trustme

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.provider import BatchMode
from shared.directory.traffic import Traffic, hospital_subject
from shared.error_kind import ErrorKind
from shared.onboarding.checks import CheckLog
from shared.onboarding.problem import Problem, ProblemKind
from shared.onboarding.report import (
    BatchReport,
    CallReport,
    FieldReport,
    PagingReport,
    Report,
    ResourceReport,
    StatementReport,
    Status,
)
from shared.stores.tables import CHECKS, TRAFFIC
from tests.deployment import Deployment
from tests.portal.conftest import Person, Portal

Outcome = tuple[int, ErrorKind | None, float]
OK: Outcome = (200, None, 84.0)
REFUSED: Outcome = (502, ErrorKind.CREDENTIAL_REFUSED, 84.0)
MALFORMED: Outcome = (400, ErrorKind.MALFORMED, 0.3)


async def happened(portal: Portal, *outcomes: tuple[str, Outcome]) -> None:
    """Has an instance of the public app count requests, each of a tenant; it writes them as it ends."""
    traffic = Traffic(portal.deployment.table(TRAFFIC))
    for tenant, (status, kind, milliseconds) in outcomes:
        hops = {"auth": 0.2, "upstream": milliseconds, "gateway": 1.5}
        traffic.fhir_request("", hospital_subject(tenant, "stu3"), status, kind, hops, answered=kind is None)
    await traffic.close()


async def newcomer(portal: Portal, role: str = "Gateway.Admin") -> Person:
    """A person at another instance of the portal, which has read nothing yet."""
    return await Person(portal.deployment.instance().application).sign_in("grace@example.com", role)


async def checked(portal: Portal, tenant: str, *problems: ProblemKind) -> None:
    """Keeps the report of a check that found these problems, and patients to be refused."""
    provider = await portal.provider(tenant)
    statement = StatementReport((), "3.0.1", (), tuple(Problem(kind, "metadata", "HTTP 401") for kind in problems))
    calls, fields = (CallReport("the patient", False, 401, "text/html", 12.3, 1),), (FieldReport("name", True, 3, 4),)
    patient = ResourceReport("Patient", Status.REFUSED, calls=calls, entries=4, fields=fields)
    parts = ((patient,), BatchReport(BatchMode.NATIVE), PagingReport())
    report = Report(provider.tenant, provider.name, provider.version, statement, *parts)
    await CheckLog(portal.deployment.table(CHECKS)).record(provider, report, "upkeep", portal.vault)


async def test_each_hospital_is_shown_with_its_state_and_the_reason(portal: Portal) -> None:
    word = uuid4().hex
    rows: dict[str, Mapping[str, str]] = {
        **{name: {} for name in ("failing", "slow", "answers", "never-checked", "by-check")},
        "off": {"Enabled": "false"},
        "problem": {"Auth": "header"},
    }
    tenants = {name: await portal.tenant(Name=f"{name} {word}", **columns) for name, columns in rows.items()}
    id = {name: tenant for name, (tenant, _) in tenants.items()}
    answers = [(id["answers"], OK)] * 9 + [(id["answers"], REFUSED), (id["answers"], OK)]
    slow = (id["slow"], (200, None, 4000.0))
    malformed = (id["never-checked"], MALFORMED)
    await happened(portal, (id["failing"], OK), (id["failing"], REFUSED), slow, malformed, *answers)
    await checked(portal, id["by-check"], ProblemKind.CREDENTIAL_REFUSED)
    admin = await newcomer(portal)
    overview = await admin.get("/portal")
    for name, state, reason, pressing in (
        ("failing", "failing", r"Failing refused our credential since \d\d:\d\d UTC 2 ", True),
        ("by-check", "failing", r"Failing the server refuses the gateway's credential .* since .* just now 0 ", True),
        ("problem", "problem", "Problem AuthHeader is needed by Auth=header; AuthSecret is .* 0 ", True),
        ("slow", "slow", r"Slow [\d,]+ ms p95 1 ", False),
        ("answers", "answers", r"Answers \d+ ms p95, 1 of 11 requests failed 11 ", False),
        ("never-checked", "never-checked", "Never checked no request has reached it in the last day 1 ", False),
        ("off", "off", "Off its requests are refused 0 ", False),
    ):
        page = await admin.get(f"/portal/tenants?q={word}&state={state}")
        assert re.search(rf"{name} {word} fhir.riverside.example {id[name]} .* STU3 {reason}", page.words), page.words
        told = re.search(rf'<a href="{tenants[name][1]}">{name} {word}</a>', overview.text)
        assert (told is not None) is pressing, name
        assert re.search(rf'href="/portal/tenants\?state={state}"', overview.text)
        others = [other for other in id if f">{other} {word}<" in page.text]
        assert others == (["failing", "by-check"] if state == "failing" else [name])
    found = await admin.get(f"/portal/tenants?q={word}&sort=-requests")
    assert re.findall(rf">([a-z-]+) {word}<", found.text)[:2] == ["answers", "failing"]
    assert f"/portal/tenants?q={word}&amp;sort=requests" in found.text


async def test_a_check_is_seen_on_the_list_at_once(portal: Portal) -> None:
    admin, (id, path) = await newcomer(portal), await portal.tenant()
    assert "Never checked" in (await admin.get(f"/portal/tenants?q={id}")).words
    await admin.post(f"{path}/check")
    assert "Failing the server could not be reached since" in (await admin.get(f"/portal/tenants?q={id}")).words


async def test_the_page_of_a_hospital_tells_what_fails_since_when_and_what_to_do(portal: Portal) -> None:
    secret = await portal.deployment.secret("me:hush")
    id, path = await portal.tenant(Name="Riverside", Auth="basic", AuthSecret=secret)
    admin = await newcomer(portal)
    assert "No request has reached it in the last day. Check the server" in (await admin.get(path)).words
    await happened(portal, *[(id, OK)] * 3, (id, MALFORMED), *[(id, REFUSED)] * 2)
    await checked(portal, id, ProblemKind.NO_CREDENTIAL)
    await (admin := await newcomer(portal)).post(f"{path}/disable")
    await admin.post(f"{path}/enable")
    for span in ("", "?days=1", "?days=7", "?days=x"):
        page = await admin.get(f"{path}{span}")
        assert re.search(
            r"The hospital refused our credential since \d\d:\d\d UTC\. Replace the credential", page.words
        )
        for place in ("credential", "edit"):
            assert f'href="{path}/{place}"' in page.text
        for told in (
            "6 requests, 2 of them with an error",
            "The hospital refused our credential 2 Replace the credential",
            "The client sent a malformed request 1 Tell the client's owner",
            "Waits for the hospital",
            "the gateway could not authenticate metadata check the row's Auth columns",
            "by upkeep: the app will not load.",
            "Patient refused 4 name in 3 of 4",
            "Patient the patient 401 text/html Fails 12.3 ms",
            "Stored just now",
            "Enable grace@example.com just now Disable grace@example.com just now",
        ):
            assert told in page.words or told in page.text, told
        assert ("7" if span == "?days=7" else "1") == re.findall(r'days=(\d)#traffic" aria-current', page.text)[0]


@pytest.mark.parametrize(
    ("stored", "lives", "told"),
    [
        (timedelta(days=10), None, "Stored just now, on .*; ends on {ends} Soon . Replace it"),
        (None, timedelta(days=10), "Stored just now, on .*; ends on {ends} Soon . Replace it"),
        (timedelta(days=90), timedelta(days=-1), "Stored just now, on .*; ended on {ends} Expired . Replace it"),
        (timedelta(days=90), timedelta(days=60), r"Stored just now, on .*; ends on {ends} \. Replace it"),
        (None, None, r"Stored just now, on [\w ]+\. Replace it"),
    ],
)
async def test_a_credentials_age_and_end_are_told(
    portal: Portal, stored: timedelta | None, lives: timedelta | None, told: str
) -> None:
    now, value = datetime.now(UTC), "no certificate"
    if lives is not None:
        value = certificate(now + lives)
    await portal.vault.set(name := f"credential-{uuid4().hex}", value, expires=now + stored if stored else None)
    _, path = await portal.tenant(Auth="none", AuthCertificate=name)
    ends = now + min([each for each in (stored, lives) if each], default=timedelta())
    words = (await (await portal.admin()).get(path)).words
    assert re.search(f"Credential {name} " + told.format(ends=f"{ends.day} {ends:%B %Y}"), words), words


async def test_what_waits_for_an_admin_stands_on_the_overview(portal: Portal) -> None:
    deployment, now = portal.deployment, datetime.now(UTC)
    day = timedelta(days=1)
    soon, later, dead, replaced = [await deployment.client("", Name=f"{name} {uuid4().hex}") for name in "abcd"]
    told = {soon: await deployment.add_secret(soon.client_id, expires=now + 20 * day)}
    await deployment.add_secret(later.client_id, expires=now + 40 * day)
    told[dead] = dead.client_secret
    expired = await deployment.add_secret(replaced.client_id, expires=now - day)
    clients = deployment.table("Clients")
    row = dict(await clients.get(dead.client_id, f"secret-{dead.secret_id}") or {})
    await clients.put({**row, "Expires": now - 2 * day})
    tenant, _ = await portal.tenant(Name="Lakeside")
    await portal.requests.ask(soon.client_id, tenant, "ada@example.com")
    page = await (await newcomer(portal)).get("/portal")
    for client, secret in told.items():
        assert f'href="/portal/clients/{client.client_id}#add-secret">Replace' in page.text
        assert f"<code>{secret.partition('.')[0]}</code>" in page.text
    assert later.client_id not in page.text
    assert expired.partition(".")[0] not in page.text
    for action in ("grant", "refuse"):
        assert f'action="/portal/clients/{soon.client_id}/requests/{tenant}/{action}"' in page.text
    assert "Lakeside ada@example.com" in page.words


def certificate(ends: datetime) -> str:
    """A certificate with its key, as Key Vault gives them."""
    issued = trustme.CA().issue_cert("gateway.example", not_after=ends)
    return issued.private_key_and_cert_chain_pem.bytes().decode()


async def test_hospitals_credentials_that_end_soon_stand_on_the_overview(portal: Portal) -> None:
    """As the latest check by any hospital that uses one found it: also once it was replaced."""
    now, word, day = datetime.now(UTC), uuid4().hex, timedelta(days=1)
    shared, single, later = f"shared-{word}", f"single-{word}", f"later-{word}"
    await portal.vault.set(shared, certificate(now + 20 * day))
    await portal.vault.set(single, "me:hush", expires=now + 10 * day)
    await portal.vault.set(later, certificate(now + 60 * day))
    rows = {
        "Ash": {"AuthCertificate": shared},
        "Birch": {"AuthCertificate": shared},
        "Cedar": {"Auth": "basic", "AuthSecret": single, "AuthCertificate": later},
        "Dogwood": {"Auth": "basic", "AuthSecret": single, "Enabled": "false"},
    }
    paths = {}
    for name, columns in rows.items():
        _, paths[name] = await portal.tenant(Name=f"{name} {word}", **columns)

    async def check(name: str) -> str:
        """What the overview has of these credentials after a hospital's check."""
        await (admin := await newcomer(portal)).post(f"{paths[name]}/check")
        page = await admin.get("/portal")
        links = re.findall(r"/portal(/tenants/[^\"]*/credential)\">Replace", page.text)
        assert all(f"/portal{link}" not in (paths["Birch"], paths["Dogwood"]) for link in links)
        told = page.words.partition("About to expire")[2].partition("Latest changes")[0]
        found = re.findall(rf"((?:Ash|Birch|Cedar|Dogwood) {word}.*?\d{{4}} (?:Soon|Expired))", told)
        return " | ".join(found).replace(f" {word}", "").replace(f"-{word}", "")

    def on(days: int) -> str:
        return f"{(ends := now + days * day).day} {ends:%B %Y} Soon"

    assert await check("Dogwood") == ""
    assert await check("Ash") == f"Ash shared {on(20)}"
    assert await check("Birch") == f"Ash and 1 more shared {on(20)}"
    assert await check("Cedar") == f"Cedar single {on(10)} | Ash and 1 more shared {on(20)}"
    await portal.vault.set(shared, certificate(now + 300 * day))
    assert await check("Birch") == f"Cedar single {on(10)}"
    await portal.vault.set(single, "me:hush")
    assert await check("Cedar") == ""
    await portal.vault.set(shared, certificate(now - day))
    assert (await check("Ash")).endswith(" Expired")


async def test_a_new_deployment_is_told_what_to_do_first(
    portal: Portal, vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tables = await TableService.start(tmp_path_factory.mktemp("new-tables"))
    try:
        settings = {"PUBLIC_BASE_URL": "http://127.0.0.1:7071"}
        async with Deployment.on(vault_server, tables.connection_string, **settings) as deployment:
            admin = await Person(deployment.application).sign_in("grace@example.com", "Gateway.Admin")
            page = await admin.get("/portal")
            for link in ("/portal/tenants/new", "/portal/clients/new"):
                assert f'class="button" href="{link}"' in page.text
            assert 'class="button" href="/portal/tenants/new"' in (await admin.get("/portal/tenants")).text
            owner = await Person(deployment.application).sign_in("ada@example.com", "Gateway.ClientOwner")
            assert (await owner.get("/portal")).location == "/portal/clients"
    finally:
        await tables.stop()
