"""A person at a browser in front of the whole local system, for the tests that need one."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from local.stack import Host, Stack, running
from tests.clients.installation import CLIENTS
from tests.deployment import Credentials

_CHROMIUM, _CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
_SEEN_SECONDS = 10  # CACHE_SECONDS is 1 here

# The mark of each module whose tests need a browser.
NEEDS_CHROMIUM = pytest.mark.skipif(
    not (Path(_CHROMIUM).exists() and Path(_CHROMEDRIVER).exists()),
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
        """What axe-core finds moderate or worse on the page."""
        if not self.driver.execute_script("return 'axe' in window"):
            self.driver.execute_script((CLIENTS / "node_modules" / "axe-core" / "axe.min.js").read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then(result => done(result.violations), error => done(String(error)))"
        )
        assert isinstance(found, list), found
        grave = [violation for violation in found if violation["impact"] != "minor"]
        return [f"{violation['id']}: {[item['html'] for item in violation['nodes']]}" for violation in grave]

    def look(self, width: int, scheme: str) -> None:
        """Makes the window so wide, and prefers light or dark."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})

    def shoot(self, file: Path, height: int | None = None) -> None:
        """Takes a picture of the page, of its upper `height` only if that is given."""
        options: dict[str, object] = {"captureBeyondViewport": True}
        if height is not None:
            width = self.driver.execute_script("return innerWidth")
            options["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        file.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))


@pytest.fixture
async def browser(stack: tuple[Stack, Path], tmp_path: Path) -> AsyncIterator[Browser]:
    options = ChromeOptions()
    options.binary_location = _CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = await asyncio.to_thread(Chrome, options, Service(_CHROMEDRIVER))
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
    ends = time.monotonic() + _SEEN_SECONDS
    while not (met := condition()) and time.monotonic() < ends:
        time.sleep(0.2)
    return met
