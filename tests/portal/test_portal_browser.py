"""The portal in a real browser, on the whole local system: what a person does there, and how its pages look."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import requests
from aiohttp import web
from aiohttp.test_utils import TestServer
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from local.hospitals.hospital import NORTHGATE
from local.stack import Host, Stack, running
from tests.clients.installation import CLIENTS, node
from tests.deployment import Credentials

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
FULL = os.environ.get("FAULTS") == "full"
LOOKS = [(390, "light"), (1280, "dark"), *([(390, "dark"), (1280, "light")] if FULL else [])]
SEEN_SECONDS = 10  # CACHE_SECONDS is 1 here
TWICE = """
const form = document.querySelector("[data-waiting]");
form.querySelector("button").click();
setTimeout(() => {
  form.querySelector("button").click();
  arguments[0](form.querySelector("progress").checkVisibility());
}, 500);
"""

pytestmark = pytest.mark.skipif(
    not (Path(CHROMIUM).exists() and Path(CHROMEDRIVER).exists()),
    reason="chromium and chromedriver are not installed: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, Path]]:
    folder = tmp_path_factory.mktemp("stack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_SECONDS", "1")
        async with running(folder, 0, Host.LOCAL, lambda text: None) as stack:
            yield stack, folder


@dataclass
class Browser:
    """What a person does in a browser: looks, clicks, fills in."""

    driver: Chrome
    root: str

    def open(self, path: str) -> None:
        self.driver.get(self.root + path)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self) -> str:
        return self.one("main").text

    def fill(self, **values: str) -> None:
        for name, value in values.items():
            field = self.one(f'[name="{name}"]')
            if field.tag_name == "select" or field.get_attribute("type") == "radio":
                self.one(f'[name="{name}"] [value="{value}"], [name="{name}"][value="{value}"]').click()
            else:
                field.clear()
                field.send_keys(value)

    def press(self, text: str) -> None:
        """Presses the button or follows the link with this text, and waits for the page it leads to."""
        before = self.one("html")
        wanted = f'//main//*[self::a or self::button][normalize-space()="{text}"]'
        self.driver.find_element(By.XPATH, wanted).click()
        WebDriverWait(self.driver, 20).until(lambda _: self.one("html").id != before.id)

    def sign_in(self, name: str, role: str) -> None:
        self.driver.delete_all_cookies()
        self.open("/sign-in")
        self.fill(name=name, role=role)
        self.press("Sign in")

    def violations(self) -> list[str]:
        """What axe-core finds serious or worse on the page."""
        if not self.driver.execute_script("return 'axe' in window"):
            self.driver.execute_script((CLIENTS / "node_modules" / "axe-core" / "axe.min.js").read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then(result => done(result.violations), error => done(String(error)))"
        )
        assert isinstance(found, list), found
        serious = [violation for violation in found if violation["impact"] in ("serious", "critical")]
        return [f"{violation['id']}: {[item['html'] for item in violation['nodes']]}" for violation in serious]

    def look(self, width: int, scheme: str) -> None:
        """Makes the window so wide, and prefers light or dark."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})

    def shoot(self, file: Path) -> None:
        options = {"captureBeyondViewport": True}
        file.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))


@pytest.fixture
async def browser(stack: tuple[Stack, Path], tmp_path: Path) -> AsyncIterator[Browser]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = await asyncio.to_thread(Chrome, options, Service(CHROMEDRIVER))
    try:
        yield Browser(driver, str(stack[0].demo.portal_url))
    finally:
        await asyncio.to_thread(driver.quit)


@dataclass
class App:
    """The app that a client is for."""

    gateway: str

    def token(self, client_id: str, client_secret: str, tenant: str) -> requests.Response:
        form = Credentials(client_id, client_secret).form(tenant)
        return requests.post(f"{self.gateway}/oauth2/token", form, timeout=30)

    def patients(self, token: requests.Response) -> requests.Response:
        headers = {"Authorization": f"Bearer {token.json()['access_token']}", "Accept": "application/json"}
        return requests.get(f"{self.gateway}/r4/Patient?_count=2", headers=headers, timeout=30)


def eventually(condition: Callable[[], bool]) -> bool:
    ends = time.monotonic() + SEEN_SECONDS
    while not (met := condition()) and time.monotonic() < ends:
        time.sleep(0.2)
    return met


async def test_a_person_connects_an_app_to_a_hospital(stack: tuple[Stack, Path], browser: Browser) -> None:
    """With scripts switched off."""
    demo, folder = stack[0].demo, stack[1]
    seeded = next(tenant for tenant in demo.tenants if tenant.version == "r4")
    key = json.loads((folder / "hospitals.json").read_text())[NORTHGATE.key]["key"]
    origin = json.loads((folder / "ports.json").read_text())[NORTHGATE.key]
    app, hospital = App(demo.base_url), str(uuid4())

    def journey() -> None:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.open("")
        browser.fill(name="Grace@example.com", role="Gateway.Admin")
        browser.press("Sign in")

        # A client, whose first secret works at once.
        browser.press("New client")
        browser.fill(name="Patients app", lifetime="90")
        browser.press("Create client and secret")
        assert not browser.one("[data-copy]").is_displayed()
        client_id, first = browser.one("#client-id").text, browser.one("#client-secret").text
        browser.press("Say which ones it may reach.")
        browser.fill(tenants=f"{seeded.tenant_id}\n{hospital}")
        browser.press("Save")
        first_token = app.token(client_id, first, seeded.tenant_id)
        assert first_token.status_code == 200, first_token.text

        # A second secret; then the first one goes, and what was obtained with it.
        assert app.patients(first_token).status_code == 200
        browser.press("Add a secret")
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
        browser.open("/tenants")
        browser.press("Add a tenant")
        browser.fill(PartitionKey=hospital.upper(), RowKey="r4", Name="<b>New</b> hospital", Auth="header")
        browser.fill(BaseUrl=f"http://127.0.0.1:{origin}{NORTHGATE.base_path}", AuthSecret="new-hospital")
        browser.press("Save")
        assert "Header name is needed by Auth=header" in browser.text()
        browser.fill(AuthHeader="Ocp-Apim-Subscription-Key", Batch="split")
        browser.press("Save")
        assert "<b>New</b> hospital" in browser.one("h1").text
        browser.press("Set it")
        browser.fill(value=key)
        browser.press("Store it")
        assert "The credential is stored." in browser.text()
        token = app.token(client_id, second, hospital)
        assert token.status_code == 200, token.text
        patients = app.patients(token)
        assert patients.status_code == 200, patients.text
        assert patients.json()["entry"][0]["resource"]["resourceType"] == "Patient"

        # Does all else work that the app does?
        browser.press("Check this server")
        assert "<b>New</b> hospital (FHIR R4): the app will load, and all that it reads is there." in browser.text()
        standings = [row.text.split("\n")[0] for row in browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")]
        assert any(standing.startswith("Observation works") for standing in standings), standings
        assert not browser.one("[data-copy]").is_displayed()
        browser.press("<b>New</b> hospital")

        # And off again.
        browser.press("Switch off")
        browser.press("Switch off")
        assert "The tenant is switched off." in browser.text()
        assert eventually(lambda: app.token(client_id, second, hospital).status_code == 400)
        assert eventually(lambda: app.patients(token).status_code != 200)
        assert app.token(client_id, second, seeded.tenant_id).status_code == 200

    await asyncio.to_thread(journey)


async def test_a_check_shows_that_it_runs_and_runs_once(stack: tuple[Stack, Path], browser: Browser) -> None:
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def journey() -> None:
        browser.sign_in("Grace", "Gateway.Admin")
        browser.open("/tenants/new")
        browser.fill(PartitionKey=str(uuid4()), RowKey="r4", TimeoutSeconds="2", Enabled="false")
        browser.fill(BaseUrl=f"http://127.0.0.1:{port}")
        browser.press("Save")
        before = browser.one("html").id
        assert not browser.one("progress").is_displayed()
        shown = browser.driver.execute_async_script(TWICE)
        WebDriverWait(browser.driver, 20).until(lambda _: browser.one("html").id != before)
        assert shown
        assert "the app will not load." in browser.text()

    async with server:
        await asyncio.to_thread(journey)
    # The statement and the list of patients, each asked for once and waited for in vain.
    assert connections == 2


async def test_the_lines_of_how_to_connect_work_in_a_shell(stack: tuple[Stack, Path], browser: Browser) -> None:
    demo = stack[0].demo
    bash, curl = shutil.which("bash"), shutil.which("curl")
    if bash is None or curl is None:
        pytest.skip("bash and curl are not installed")

    def run(script: str, **environment: str) -> Any:
        environment["PATH"] = "/usr/bin:/bin"
        return json.loads(subprocess.check_output([bash, "-c", script], env=environment, timeout=60))

    def journey() -> None:
        browser.sign_in("Grace", "Gateway.Admin")
        browser.open(f"/connect?client={demo.client_id}")
        token = run(browser.one("#token").text, CLIENT_SECRET=demo.client_secret)
        found = run(browser.one("#fhir").text, TOKEN=token["access_token"])
        assert found["resourceType"] == "Bundle"

    await asyncio.to_thread(journey)


async def test_a_form_of_another_origin_changes_nothing(stack: tuple[Stack, Path], browser: Browser) -> None:
    """Not even one of the same site, another port of the machine, with which the browser sends the session."""
    sent = f"""<form method=post action="{browser.root}/clients/new"><input name=name value=Forged>
        <input name=lifetime value=90></form><script>document.forms[0].submit()</script>"""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=sent, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)

    def journey(same_site: str) -> None:
        browser.sign_in("Grace", "Gateway.Admin")
        for elsewhere in (same_site, same_site.replace("127.0.0.1", "localhost"), f"data:text/html,{quote(sent)}"):
            browser.driver.get(elsewhere)
            WebDriverWait(browser.driver, 10).until(lambda driver: "not sent from here" in driver.page_source)
        browser.open("/clients?q=Forged")
        assert "No client" in browser.text()

    async with TestServer(app, host="127.0.0.1") as server:
        await asyncio.to_thread(journey, str(server.make_url("/")))


def pages(browser: Browser, demo_client: str, tenant: str, file: Path) -> Iterator[str]:
    """Brings each page of the portal up, and names it; `file` is one to upload."""
    permissions = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", permissions)
    browser.driver.delete_all_cookies()
    browser.open("/sign-in")
    yield "sign-in"
    browser.sign_in("New owner", "Gateway.ClientOwner")
    yield "clients-empty"
    browser.sign_in("Grace Hopper", "Gateway.Admin")
    yield "clients"
    client, row = f"/clients/{demo_client}", f"/tenants/{tenant}/stu3"
    for name, path in {
        "connect": f"/connect?client={demo_client}",
        "client-new": "/clients/new",
        "client": client,
        "tenant": row,
        **{f"client-{page}": f"{client}/{page}" for page in ("edit", "disable", "delete")},
        **{f"tenant-{page}": f"{row}/{page}" for page in ("edit", "disable", "remove", "credential", "check")},
        "tenants": "/tenants",
        "tenants-none-found": "/tenants?q=nobody-has-this",
        "tenant-new": "/tenants/new",
        "tenant-import": "/tenants/import",
        "not-found": "/nowhere",
    }.items():
        browser.open(path)
        yield name
    browser.open("/clients/new")
    browser.fill(name="Shown once", lifetime="365")
    browser.press("Create client and secret")
    copy = browser.one('[data-copy="client-secret"]')
    copy.click()
    WebDriverWait(browser.driver, 10).until(lambda _: "Copied" in copy.text)
    copied = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == browser.one("#client-secret").text
    yield "secret"
    browser.press("I have kept it")
    browser.press("Disable")
    browser.press("Disable the client")
    yield "client-disabled"
    browser.one("td.action a").click()
    yield "secret-delete"
    browser.open("/tenants/new")
    browser.fill(PartitionKey="contoso", BaseUrl="https://fhir.example")
    browser.press("Save")
    yield "tenant-new-wrong"
    browser.open(row)
    browser.press("Check this server")
    assert "the app will load, and all" in browser.text()
    yield "tenant-checked"
    for details in browser.driver.find_elements(By.TAG_NAME, "summary"):
        details.click()
    yield "tenant-checked-all"
    browser.open(f"{row}/edit")
    browser.fill(Types="Patient,Observation,Encounter")
    browser.press("Save")
    for name, patient, told in (
        ("tenant-checked-gaps", "", "the app will load, with gaps"),
        ("tenant-check-wrong", "not an id", "Nothing was checked"),
        ("tenant-checked-not-loading", "nobody-has-this", "the app will not load"),
    ):
        browser.fill(patient=patient)
        browser.press("Check this server")
        assert told in browser.text()
        yield name
    browser.open("/tenants/import")
    header, ids = "TenantId,FhirVersion,Name,BaseUrl\n", [str(uuid4()) for _ in range(3)]
    lines = [f'{id},r4,"Ward, ""{number}""",https://fhir.example\n' for number, id in enumerate(ids)]
    for name, content, pressed in (
        ("import-wrong", [header, *lines, "contoso,stu3,,\n"], "Choose the mended file"),
        ("import-preview", [header, *lines], "Write 3 rows"),
    ):
        file.write_text("".join(content))
        browser.one("#file").send_keys(str(file))
        browser.press("Check the file")
        yield name
        browser.press(pressed)
    assert "3 rows were written" in browser.text()
    yield "import-done"
    browser.press("Back to the tenants")
    assert 'Ward, "2"' in browser.text()
    browser.open(f"{row}/edit")
    mine = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(f"{row}/edit")
    browser.fill(TimeoutSeconds="9")
    browser.press("Save")
    browser.driver.close()
    browser.driver.switch_to.window(mine)
    browser.fill(TimeoutSeconds="12")
    browser.press("Save")
    yield "tenant-edit-changed"


async def test_pages_work_are_accessible_in_light_and_dark_and_fit_a_phone(
    stack: tuple[Stack, Path], browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    demo, shots = stack[0].demo, tmp_path_factory.mktemp("portal-pages")
    tenant = next(tenant.tenant_id for tenant in demo.tenants if tenant.version == "stu3")

    def journey() -> None:
        node()
        problems: list[str] = []
        for name in pages(browser, demo.client_id, tenant, shots / "tenants.csv"):
            for width, scheme in LOOKS:
                browser.look(width, scheme)
                if FULL:
                    browser.shoot(shots / f"{name}-{width}-{scheme}.png")
                problems += [f"{name}, {width} px, {scheme}: {found}" for found in browser.violations()]
                wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
                if wide > width:
                    problems.append(f"{name}: {wide} px do not fit into {width}")
        assert not problems, "\n".join(problems)

    await asyncio.to_thread(journey)
    if FULL:
        print(f"The pages' pictures are in {shots}")
