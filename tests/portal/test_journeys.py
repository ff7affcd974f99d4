"""What a person does in the portal from beginning to end, in a real browser on the whole local system."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import requests
from selenium.webdriver.common.by import By

from local.hospitals.hospital import NORTHGATE
from local.stack import Stack
from shared.directory.client import SECRET_ROW_PREFIX, secret_id_of
from shared.settings import Settings
from shared.stores.tables import CLIENTS, TENANTS, Table, etag_of, table_service
from tests.deployment import Credentials, Deployment
from tests.oauth.keyed_app import P384, KeyedApp, jwk, key_set
from tests.portal.browser import NEEDS_CHROMIUM, App, Browser, eventually

pytestmark = NEEDS_CHROMIUM


async def test_a_person_connects_an_app_to_a_hospital(stack: tuple[Stack, Path], browser: Browser) -> None:
    """With scripts switched off."""
    demo, folder = stack[0].demo, stack[1]
    seeded = next(tenant for tenant in demo.tenants if tenant.version == "r4")
    key = json.loads((folder / "hospitals.json").read_text())[NORTHGATE.key]["key"]
    origin = json.loads((folder / "ports.json").read_text())[NORTHGATE.key]
    app, hospital = App(demo.base_url), str(uuid4())

    def let_reach(name: str) -> None:
        browser.fill(q=name)
        browser.press("Search")
        browser.press(f"Add {name}")

    def journey() -> None:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.open("")
        browser.fill(name="Grace@example.com", role="Gateway.Admin")
        browser.press("Sign in")

        # A client, whose first secret works at once.
        browser.open("/clients")
        browser.press("New client")
        browser.fill(name="Patients app", lifetime="90")
        browser.press("Create the client")
        assert not browser.one("[data-copy]").is_displayed()
        client_id, first = browser.one("#client-id").text, browser.one("#client-secret").text
        browser.press("Say which ones it may reach.")
        let_reach(seeded.name)
        first_token = app.token(client_id, first, seeded.tenant_id)
        assert first_token.status_code == 200, first_token.text

        # A second secret; then the first one goes, and what was obtained with it.
        assert app.patients(first_token).status_code == 200
        browser.open(f"/clients/{client_id}")
        browser.press("Add a secret")
        browser.press("Add the secret")
        second = browser.one("#client-secret").text
        browser.press("I have kept it")
        assert first not in browser.driver.page_source
        assert second not in browser.driver.page_source
        browser.press(f"Delete secret {first.partition('.')[0]}")
        browser.press("Delete the secret")
        assert "The secret is deleted." in browser.text()
        assert eventually(lambda: app.token(client_id, first, seeded.tenant_id).status_code == 401)
        assert eventually(lambda: app.patients(first_token).status_code == 401)
        assert app.token(client_id, second, seeded.tenant_id).status_code == 200

        # A hospital, with its credential.
        browser.open("/tenants/new/header")
        browser.fill(PartitionKey=hospital, RowKey="r4", Name="<b>New</b> hospital", value=key)
        browser.fill(BaseUrl=f"http://127.0.0.1:{origin}{NORTHGATE.base_path}")
        browser.press("Save and check")
        browser.press("Edit Batch")
        browser.fill(Batch="split")
        browser.press("Save")
        assert "<b>New</b> hospital" in browser.one("h1").text
        page = browser.driver.current_url
        browser.open(f"/clients/{client_id}/hospitals")
        let_reach("<b>New</b> hospital")
        browser.driver.get(page)
        token = app.token(client_id, second, hospital)
        assert token.status_code == 200, token.text
        patients = app.patients(token)
        assert patients.status_code == 200, patients.text
        assert patients.json()["entry"][0]["resource"]["resourceType"] == "Patient"

        # Does all else work that the app does?
        browser.press("Check this server")
        assert "<b>New</b> hospital (FHIR R4): the app will load, and all that it reads is there." in browser.text()
        standings = [" ".join(row.text.split()) for row in browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")]
        assert any(standing.startswith("Observation works") for standing in standings), standings
        assert not browser.one("[data-copy]").is_displayed()
        browser.press("<b>New</b> hospital")

        # And off again.
        browser.press("Switch off")
        browser.press("Switch off")
        assert "The hospital is switched off." in browser.text()
        assert eventually(lambda: app.token(client_id, second, hospital).status_code == 400)
        assert eventually(lambda: app.patients(token).status_code != 200)
        assert app.token(client_id, second, seeded.tenant_id).status_code == 200

    await asyncio.to_thread(journey)


async def test_a_hospital_that_starts_failing_is_named_with_the_reason_and_mended(
    stack: tuple[Stack, Path], browser: Browser
) -> None:
    """What an instance counts is there once it has written it, which it does every five minutes and as it ends."""
    demo, folder = stack[0].demo, stack[1]
    tenant = next(tenant for tenant in demo.tenants if tenant.version == "r4")
    settings = msgspec.json.decode((folder / "local.settings.json").read_bytes())["Values"]
    client = Credentials(demo.client_id, demo.client_secret)

    async def requests(status: int, count: int) -> None:
        instance = Deployment({**settings, "CACHE_SECONDS": "1"})
        token = await instance.token(tenant.tenant_id, client=client)
        for _ in range(count):
            assert (await instance.send("GET", "/r4/Patient?_count=2", token)).status == status
        await instance.close()

    def seen(path: str, text: str) -> bool:
        browser.open(path)
        return text in browser.text()

    def is_named() -> None:
        browser.sign_in("Grace", "Gateway.Admin")
        assert eventually(lambda: seen("", "refused our credential since"))
        browser.press(tenant.name)
        assert "The hospital refused our credential 3" in browser.text()

    def is_mended() -> None:
        browser.press("Mend it")
        browser.fill(value=key)
        browser.press("Store it")
        browser.press("Check this server")
        assert eventually(lambda: seen("", "Overview") and "refused our credential" not in browser.text())

    def answers_again() -> None:
        answering = f"/tenants?state=answers&q={tenant.tenant_id}"
        assert eventually(lambda: seen(answering, "3 of 6 requests failed, checked just now"))

    store = Deployment(settings)
    row = await store.table(TENANTS).get(tenant.tenant_id, "r4") or {}
    secret = await store.vault.get(str(row["AuthSecret"]))
    assert secret is not None
    key = secret.value
    await requests(200, 1)
    await store.vault.set(str(row["AuthSecret"]), "an old key")
    await requests(502, 3)
    await asyncio.to_thread(is_named)
    await asyncio.to_thread(is_mended)
    await requests(200, 2)
    await asyncio.to_thread(answers_again)
    await store.close()


async def expire_in(days: int, folder: Path, client_id: str, secret: str) -> None:
    """Brings the end of a secret in a running stack's table near."""
    values = json.loads((folder / "local.settings.json").read_bytes())["Values"]
    async with table_service(Settings.from_environment(values)) as service:
        row = await Table(service, CLIENTS).get(client_id, SECRET_ROW_PREFIX + secret_id_of(secret))
        assert row is not None
        expires = datetime.now(UTC) + timedelta(days=days)
        await Table(service, CLIENTS).replace({**row, "Expires": expires}, etag_of(row))


async def test_an_app_moves_from_its_secret_to_a_key_of_its_own(stack: tuple[Stack, Path], browser: Browser) -> None:
    demo = stack[0].demo
    seeded, app = next(tenant for tenant in demo.tenants if tenant.version == "r4"), App(demo.base_url)

    deployment = Deployment(json.loads((stack[1] / "local.settings.json").read_text())["Values"])

    def serves(token: requests.Response) -> bool:
        return token.status_code == 200 and app.patients(token).status_code == 200

    def journey() -> None:
        browser.sign_in("Grace@example.com", "Gateway.Admin")
        browser.open("/clients/new")
        browser.fill(name="Bulk app", lifetime="90")
        browser.press("Create the client")
        client_id, secret = browser.one("#client-id").text, browser.one("#client-secret").text
        browser.press("Say which ones it may reach.")
        browser.fill(q=seeded.name)
        browser.press("Search")
        browser.press(f"Add {seeded.name}")
        by_secret = app.token(client_id, secret, seeded.tenant_id)
        assert serves(by_secret)

        # The new key beside the secret, tested before it is used.
        browser.open(f"/clients/{client_id}")
        browser.press("Add a key instead")
        browser.fill(jwks=key_set(jwk(P384)))
        browser.press("Save the keys")
        keyed = KeyedApp(deployment, client_id, seeded.tenant_id, gateway=demo.base_url)
        assertion = keyed.assertion()
        browser.press("Test this client")
        browser.fill(assertion=assertion)
        browser.press("Test the assertion")
        assert "The assertion is good" in browser.text()
        by_key = requests.post(f"{demo.base_url}/oauth2/token", keyed.form(assertion), timeout=30)
        assert serves(by_key)
        assert serves(by_secret)

        # Then the secret goes, and later the key.
        browser.open(f"/clients/{client_id}")
        browser.press(f"Delete secret {secret_id_of(secret)}")
        assert "The client's own keys work on." in browser.text()
        browser.press("Delete the secret")
        assert eventually(lambda: app.patients(by_secret).status_code == 401)
        assert serves(by_key)
        browser.press("Remove key one")
        assert "Bulk app can't sign in any more" in browser.text()
        browser.press("Remove the key")
        assert eventually(lambda: app.patients(by_key).status_code == 401)
        assert "The client has no secret, so it gets no tokens." in browser.text()

    await asyncio.to_thread(journey)
    await deployment.close()


async def test_an_owner_asks_for_access_and_replaces_a_secret_without_an_interruption(
    stack: tuple[Stack, Path], browser: Browser
) -> None:
    demo, folder = stack[0].demo, stack[1]
    seeded, app = next(tenant for tenant in demo.tenants if tenant.version == "r4"), App(demo.base_url)

    def serves(client_id: str, secret: str) -> bool:
        token = app.token(client_id, secret, seeded.tenant_id)
        return token.status_code == 200 and app.patients(token).status_code == 200

    def asked_and_granted() -> tuple[str, str]:
        browser.sign_in("Ada@example.com", "Gateway.ClientOwner")
        browser.open("/clients/new")
        browser.fill(name="Ward app", label="production", lifetime="90")
        browser.press("Create the client")
        client_id, secret = browser.one("#client-id").text, browser.one("#client-secret").text
        browser.driver.refresh()
        assert browser.one("#client-secret").text == secret
        browser.press("Ask for one.")
        browser.fill(q=seeded.name)
        browser.press("Search")
        browser.press(f"Ask for access to {seeded.name}")
        assert "Waiting for an admin" in browser.text()
        assert not serves(client_id, secret)
        browser.sign_in("Grace@example.com", "Gateway.Admin")
        browser.open(f"/clients/{client_id}")
        browser.press(f"Grant {seeded.name}")
        assert eventually(lambda: serves(client_id, secret))
        browser.sign_in("Ada@example.com", "Gateway.ClientOwner")
        browser.open(f"/clients/{client_id}/test")
        browser.fill(secret=secret)
        browser.press("Test it")
        assert "All three steps went well" in browser.text()
        assert secret not in browser.driver.page_source
        return client_id, secret

    def replaced(client_id: str, old: str) -> None:
        browser.open("/clients")
        assert "Ends in 20 days" in browser.text()
        browser.press("Ward app")
        browser.press(f"Replace secret {secret_id_of(old)}")
        browser.fill(label="production, new", lifetime="365")
        browser.press("Add the secret")
        new = browser.one("#client-secret").text
        assert serves(client_id, old)
        assert "Not used yet" in browser.text()
        assert eventually(lambda: serves(client_id, new))  # an instance looks again every other second
        assert eventually(lambda: browser.driver.refresh() or "It was used on" in browser.text())
        browser.press(f"Delete secret {secret_id_of(old)}")
        assert "Another secret of this client works on." in browser.text()
        browser.press("Delete the secret")
        assert "Ends in" not in browser.text()
        assert serves(client_id, new)
        assert eventually(lambda: not serves(client_id, old))

    client_id, old = await asyncio.to_thread(asked_and_granted)
    await expire_in(20, folder, client_id, old)
    await asyncio.to_thread(replaced, client_id, old)


async def test_the_first_hospital_is_added_and_checked_with_a_mistake_on_the_way(
    stack: tuple[Stack, Path], browser: Browser
) -> None:
    """By less than two minutes of a person's: a field or a click takes five seconds, to look and to do."""
    folder = stack[1]
    key = json.loads((folder / "hospitals.json").read_text())[NORTHGATE.key]["key"]
    origin = json.loads((folder / "ports.json").read_text())[NORTHGATE.key]
    settings = msgspec.json.decode((folder / "local.settings.json").read_bytes())["Values"]
    table, hospital, actions = Deployment(settings).table(TENANTS), str(uuid4()), 0

    def press(text: str) -> None:
        nonlocal actions
        actions += 1
        browser.press(text)

    def fill(**values: str) -> None:
        nonlocal actions
        actions += len(values)
        browser.fill(**values)

    def journey() -> None:
        browser.sign_in("Grace", "Gateway.Admin")
        browser.open("/tenants")
        press("Add the first hospital")
        press("A header with a fixed value, Another product")
        fill(PartitionKey=hospital[:-1], Name="Riverside", RowKey="r4", value=key)
        fill(BaseUrl=f"http://127.0.0.1:{origin}{NORTHGATE.base_path}")
        press("Save and check")
        assert "Tenant ID is not a tenant GUID" in browser.one('[role="alert"]').text
        assert browser.one("#BaseUrl").get_attribute("value") != ""
        assert key not in browser.driver.page_source
        fill(PartitionKey=f"{{{hospital.upper()}}}", value=key)
        press("Save and check")
        assert "Riverside (FHIR R4): the app will load, with gaps." in browser.text()
        press("Edit Batch")
        fill(Batch="split")
        press("Save")
        press("Check this server")
        assert "the app will load, and all that it reads is there." in browser.text()

    rows = [dict(row) async for row in table.scan()]
    for row in rows:
        await table.delete(str(row["PartitionKey"]), str(row["RowKey"]))
    try:
        await asyncio.sleep(11)  # for so long the portal may show the list as it was
        await asyncio.to_thread(journey)
    finally:
        for row in rows:
            await table.insert(row)
    assert actions * 5 < 120, actions
