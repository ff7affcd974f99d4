"""The portal in a real browser, on the whole local system: its scripts, its safety, and how its pages look."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode
from uuid import uuid4

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from local.demo_file import Demo
from local.stack import Stack
from shared.stores.tables import TENANTS
from tests.clients.installation import node
from tests.deployment import Deployment
from tests.directory.test_client_keys import pem, private_pem
from tests.oauth.keyed_app import P256, P384, RSA, jwk, key_set
from tests.portal.browser import NEEDS_CHROMIUM, Browser
from tests.portal.week import Week, fill

PICTURES = Path(os.environ["PICTURES"]) if "PICTURES" in os.environ else None  # the folder for pictures of all pages
FULL = PICTURES is not None or os.environ.get("FAULTS") == "full"
LOOKS = [(390, "light"), (1280, "dark"), *([(390, "dark"), (1280, "light")] if FULL else [])]
WIDTHS = (320, 390, 800, 1280)
README = {  # its pictures: the upper part of some pages
    "overview-1280-light": 1080,
    "tenant-fails-1280-light": 1080,
    "client-expiring-1280-dark": 1195,
}
TWICE = """
const form = document.querySelector("[data-waiting]");
form.querySelector("button").click();
setTimeout(() => {
  form.querySelector("button").click();
  arguments[0](form.querySelector("progress").checkVisibility());
}, 500);
"""

pytestmark = NEEDS_CHROMIUM


async def test_a_check_shows_that_it_runs_and_runs_once(stack: tuple[Stack, Path], browser: Browser) -> None:
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    row = {"PartitionKey": str(uuid4()), "RowKey": "r4", "BaseUrl": f"http://127.0.0.1:{port}", "TimeoutSeconds": 2}
    settings = json.loads((stack[1] / "local.settings.json").read_text())["Values"]
    await Deployment(settings).table(TENANTS).insert({**row, "Enabled": False})

    def journey() -> None:
        browser.sign_in("Grace", "Gateway.Admin")
        browser.open(f"/tenants/{row['PartitionKey']}/r4")
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
    bash = shutil.which("bash")
    if bash is None or not all(map(shutil.which, ("curl", "jq"))):
        pytest.skip("bash, curl and jq are not installed")

    def journey() -> None:
        browser.sign_in("Grace", "Gateway.Admin")
        browser.open(f"/connect?client={demo.client_id}")
        browser.fill(hospital=f"{demo.tenants[-1].tenant_id}/{demo.tenants[-1].version}")
        browser.press("Show")
        lines = "\n".join(block.text for block in browser.driver.find_elements(By.TAG_NAME, "pre"))
        environment = {"PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1"}
        # The secret is typed.
        command, typed = [bash, "-euc", lines], f"{demo.client_secret}\n"
        found = subprocess.check_output(command, env=environment, input=typed, text=True, timeout=60)
        assert re.search(r"\d+ observations\n200: \d+ found\n200: \d+ found\n$", found), found

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


def pages(browser: Browser, demo: Demo, week: Week, tenant: str, file: Path) -> Iterator[str]:
    """Brings each page of the portal up, and names it; `file` is one to upload."""
    permissions = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", permissions)
    browser.driver.delete_all_cookies()
    browser.open("/sign-in")
    yield "sign-in"
    browser.sign_in("New owner", "Gateway.ClientOwner")
    yield "clients-empty"
    browser.sign_in("Grace Hopper", "Gateway.Admin")
    yield "overview"
    client, row = f"/clients/{week.client}", f"/tenants/{tenant}/stu3"
    for name, path in {
        "connect": f"/connect?client={week.client}",
        "clients": "/clients",
        "client-new": "/clients/new",
        "client": client,
        "client-expiring": f"/clients/{week.expiring}",
        "tenant": row,
        "tenant-answers": week.answers,
        "tenant-answers-week": f"{week.answers}?days=7",
        "tenant-fails": week.fails,
        **{f"client-{page}": f"{client}/{page}" for page in ("edit", "disable", "delete", "secrets", "test")},
        "client-hospitals": f"{client}/hospitals?q=clinic",
        **{f"tenant-{page}": f"{row}/{page}" for page in ("edit", "disable", "remove", "credential", "check")},
        "tenants": "/tenants",
        "tenants-none-found": "/tenants?q=nobody-has-this",
        "tenant-new": "/tenants/new",
        "tenant-new-server": "/tenants/new/redox",
        "tenant-import": "/tenants/import",
        "not-found": "/nowhere",
    }.items():
        browser.open(path)
        yield name
    browser.open("/clients/new")
    browser.fill(name="Shown once", lifetime="365")
    browser.press("Create the client")
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
    hospital = next(each.name for each in demo.tenants if each.tenant_id == tenant)
    browser.open(f"/clients/{demo.client_id}/test?{urlencode({'q': hospital})}")
    for name, secret, told in (
        ("client-tested", demo.client_secret, "All three steps went well"),
        ("client-test-failed", "nonsense", "The client has no such secret"),
    ):
        browser.fill(secret=secret)
        browser.press("Test it")
        assert told in browser.text()
        yield name
    browser.open("/clients?q=Shown")
    browser.press("Shown once")
    browser.one("td.action a").click()
    yield "secret-delete"
    yield from key_pages(browser)
    browser.open("/tenants/new/redox")
    browser.fill(PartitionKey="contoso", BaseUrl="http://fhir.example", value="no key")
    browser.press("Save and check")
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
    browser.open("/tenants?q=Ward")
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


def key_pages(browser: Browser) -> Iterator[str]:
    """The pages of a client that signs in with its own keys."""
    browser.open("/clients/new")
    browser.fill(name="Bulk export", proof="keys")
    yield "client-new-keys"
    browser.fill(jwks=private_pem(P384), jwks_url="https://app.example.com/jwks")
    browser.press("Create the client")
    assert "counts as exposed" in browser.text()
    yield "client-new-keys-wrong"
    browser.fill(jwks=pem(P384), jwks_url="")
    browser.press("Create the client")
    client = browser.one("#client-id").text
    browser.press("Change the keys")
    yield "client-keys"
    browser.fill(jwks=key_set(jwk(RSA, "2026-11"), {**jwk(P256), "kid": ""}))
    browser.press("Save the keys")
    assert "without a kid" in browser.text()
    yield "client-keys-wrong"
    browser.fill(jwks=key_set(jwk(RSA, "2026-11")))
    browser.press("Save the keys")
    yield "client-with-keys"
    browser.open(f"/connect?client={client}")
    yield "connect-keys"
    browser.open(f"/clients/{client}/test")
    yield "client-test-keys"
    claims = {"iss": client, "sub": client, "aud": "https://elsewhere.example", "exp": int(time.time()) + 240}
    browser.fill(assertion=jwt.encode({**claims, "jti": str(uuid4())}, P384, "ES384", {"kid": "2026-11"}))
    browser.press("Test the assertion")
    assert "signed by ES384, but its key is good for" in browser.text()
    yield "client-assertion-tested"
    browser.open(f"/clients/{client}/keys/remove")
    yield "client-keys-remove"
    browser.open(f"/clients/{client}/keys")
    browser.fill(jwks_url="http://127.0.0.1:9/jwks")
    browser.press("Save the keys")
    yield "client-keys-at-url"


async def test_pages_work_are_accessible_in_light_and_dark_and_fit_a_phone(
    stack: tuple[Stack, Path], browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    demo, file = stack[0].demo, tmp_path_factory.mktemp("pages") / "tenants.csv"
    tenant = next(tenant.tenant_id for tenant in demo.tenants if tenant.version == "stu3")
    week, problems = await fill(stack[1], demo), list[str]()

    def look() -> None:
        node()
        for name in pages(browser, demo, week, tenant, file):
            for width, scheme in LOOKS:
                browser.look(width, scheme)
                if PICTURES:
                    picture = f"{name}-{width}-{scheme}"
                    browser.shoot(PICTURES / f"{picture}.png")
                    if picture in README:
                        browser.shoot(PICTURES / "readme" / f"{name}.png", README[picture])
                problems.extend(f"{name}, {width} px, {scheme}: {found}" for found in browser.violations())
            for width in WIDTHS:
                browser.look(width, "light")
                wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
                if wide > width:
                    problems.append(f"{name}: {wide} px do not fit into {width}")

    if PICTURES:
        (PICTURES / "readme").mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(look)
    assert not problems, "\n".join(problems)
