"""Who gets into the portal at all, and what keeps other sites out of it."""

import json
from base64 import b64encode
from collections.abc import Callable

import pytest

from shared.application import Application
from tests.portal.conftest import HOST, Deployment, Visitor

AZURE_HOST = "portal.example"
PATHS = ("/portal", "/portal/", "/portal/clients", "/portal/sign-in", "/portal/static/portal.css", "/portal/nowhere")
Build = Callable[[str, bool], Application]


def in_azure(application: Application, *roles: str, name: str = "ada@example.com") -> Visitor:
    claims = [{"typ": "preferred_username", "val": name}, *({"typ": "roles", "val": role} for role in roles)]
    principal = b64encode(json.dumps({"auth_typ": "aad", "claims": claims}).encode()).decode()
    return Visitor(application, {"host": AZURE_HOST, "x-ms-client-principal": principal})


@pytest.fixture
def remote(azure: Build, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Applications that are not on a laptop, as far as the portal can tell."""
    monkeypatch.setattr("shared.settings.Settings.local", False)
    return azure


@pytest.mark.parametrize(("portal_auth", "vouched"), [("off", False), ("off", True), ("entra", False)])
async def test_where_nobody_vouches_for_the_header_there_is_no_portal(
    remote: Build, portal_auth: str, vouched: bool
) -> None:
    visitor = in_azure(remote(portal_auth, vouched), "Gateway.Admin")
    for host in (AZURE_HOST, HOST):
        visitor.headers["host"] = host
        for path in PATHS:
            for page in (await visitor.get(path), await visitor.get(path, "HEAD"), await visitor.post(path)):
                assert (page.status, page.response.body) == (404, b""), path
                assert "Set-Cookie" not in page.response.headers


@pytest.mark.parametrize("portal_auth", ["off", "entra"])
async def test_the_header_counts_for_nothing_on_a_laptop(azure: Build, portal_auth: str) -> None:
    visitor = in_azure(azure(portal_auth, True), "Gateway.Admin")
    visitor.headers["host"] = HOST
    assert (await visitor.get("/portal/clients")).location == "/portal/sign-in"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7072", "", "[::1", "10.0.0.1"]
)
async def test_a_laptops_portal_answers_under_names_of_the_machine_only(deployment: Deployment, host: str) -> None:
    admin = await deployment.admin()
    admin.headers["host"] = host
    for path in PATHS:
        assert (await admin.get(path)).status == 404


@pytest.mark.parametrize("host", ["localhost", "localhost:7072", "127.0.0.1", "[::1]:7072"])
async def test_a_laptops_portal_has_the_machines_names(deployment: Deployment, host: str) -> None:
    visitor = Visitor(deployment.application, {"host": host})
    assert (await visitor.get("/portal/sign-in")).status == 200


async def test_entra_lets_people_in_by_their_roles(remote: Build) -> None:
    application = remote("entra", True)
    assert (await in_azure(application, "Gateway.ClientOwner").get("/portal/clients")).status == 200
    assert (await in_azure(application, "Gateway.ClientOwner").get("/portal/tenants")).status == 404
    assert (await in_azure(application, "Gateway.Admin").get("/portal/tenants")).status == 200
    assert (await in_azure(application, "Gateway.Admin").get("/portal/sign-in")).status == 404


async def test_who_has_no_role_is_told_whom_to_ask(remote: Build) -> None:
    visitor = in_azure(remote("entra", True), "Another.Role")
    for path in ("/portal/clients", "/portal/tenants", "/portal/nowhere"):
        page = await visitor.get(path)
        assert page.status == 403
        assert "Ask the person who administers the gateway" in page.text
    assert (await visitor.post("/portal/clients/new", {"name": "x", "lifetime": "90"})).status == 403


async def test_who_is_not_signed_in_is_sent_to_entra_and_back(remote: Build) -> None:
    visitor = Visitor(remote("entra", True), {"host": AZURE_HOST})
    page = await visitor.get("/portal/clients/7?done=x")
    assert page.location == "/.auth/login/aad?post_login_redirect_uri=%2Fportal%2Fclients%2F7"
    page = await visitor.post("/portal/clients/new")
    assert page.status == 401
    assert "/.auth/login/aad" in page.text


async def test_cookies_in_azure_are_for_this_host_over_https(remote: Build) -> None:
    page = await in_azure(remote("entra", True), "Gateway.Admin").get("/portal/clients")
    cookie = page.response.headers["Set-Cookie"]
    assert cookie.startswith("__Host-portal-csrf=")
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")


async def test_a_session_is_signed(deployment: Deployment) -> None:
    admin = await deployment.admin()
    payload, _, signature = admin.cookies["portal-session"].partition(".")
    other = b64encode(json.dumps(["eve", "Gateway.Admin", 9999999999]).encode()).decode().rstrip("=")
    for forged in (
        f"{other}.{signature}",
        f"{payload}.",
        f"{payload}.{signature[:-2]}xx",
        "",
        ".",
        f"{payload}.\u00e9",
    ):
        admin.cookies["portal-session"] = forged
        assert (await admin.get("/portal/clients")).location == "/portal/sign-in"


async def test_signing_out_forgets_the_session(deployment: Deployment) -> None:
    admin = await deployment.admin()
    page = await admin.post("/portal/sign-out")
    assert "portal-session=; " in page.response.headers["Set-Cookie"]
    assert "Max-Age=0" in page.response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "same-origin", "origin": "https://evil.example"},
    ],
)
async def test_a_form_of_another_site_is_refused(deployment: Deployment, headers: dict[str, str]) -> None:
    admin = await deployment.admin()
    page = await admin.post("/portal/clients/new", {"name": "Forged", "lifetime": "90"}, **headers)
    assert page.status == 403
    assert "Forged" not in (await admin.get("/portal/clients")).text


async def test_a_form_needs_the_token_of_the_cookie(deployment: Deployment) -> None:
    admin = await deployment.admin()
    form = {"name": "Forged", "lifetime": "90"}
    for token in ("", "x" * 43, admin.csrf()[:-1]):
        assert (await admin.post("/portal/clients/new", {**form, "csrf": token})).status == 403
    token = admin.cookies.pop("portal-csrf")
    assert (await admin.post("/portal/clients/new", {**form, "csrf": token})).status == 403
    admin.cookies["portal-csrf"] = ""
    assert (await admin.post("/portal/clients/new", {**form, "csrf": ""})).status == 403
    assert "Forged" not in (await admin.get("/portal/clients")).text


async def test_every_page_carries_the_headers_that_keep_it_safe(deployment: Deployment) -> None:
    admin = await deployment.admin()
    paths = [*PATHS, "/portal/tenants", "/portal/tenants/export", "/portal/connect"]
    for page in [await admin.get(path) for path in paths]:
        headers = page.response.headers
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        static = page.path.startswith("/portal/static/")
        assert headers["Cache-Control"] == ("private, max-age=86400" if static else "no-store")


async def test_a_head_request_has_the_answers_headers_and_no_body(deployment: Deployment) -> None:
    admin = await deployment.admin()
    page = await admin.get("/portal/clients", "HEAD")
    assert (page.status, page.response.body) == (200, b"")


async def test_a_store_that_is_down_is_said(deployment: Deployment) -> None:
    environment = {
        "PUBLIC_BASE_URL": "http://127.0.0.1:7071",
        "KEY_VAULT_URL": "https://127.0.0.1:9",
        "LOCAL_VAULT": str(deployment.application.settings.local_vault),
        "TABLES_CONNECTION_STRING": "AccountName=a;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:9/a;",
    }
    application = Application.from_environment(environment)
    page = await (await Visitor(application).sign_in("ada", "Gateway.Admin")).get("/portal/clients")
    assert page.status == 503
    assert "Try again in a moment" in page.text
    await application.close()
