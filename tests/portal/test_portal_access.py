"""Access to the portal: where there is one, for whom, and what keeps other sites out of it."""

import json
from base64 import b64encode
from collections.abc import Callable

import pytest

from shared.application import Application
from shared.directory.client import Client
from tests.deployment import FORM
from tests.portal.conftest import HOST, Changes, Person, Portal

AZURE_HOST = "portal.example"
STATIC = "/portal/static/portal.css"
PATHS = ("/portal", "/portal/", "/portal/clients", "/portal/sign-in", STATIC, "/portal/nowhere")
NEW_CLIENT = "/portal/clients/new"
Build = Callable[[str, bool], Application]


def in_azure(application: Application, *roles: str, user_name: str = "ada@example.com", oid: str = "1") -> Person:
    ids = {"preferred_username": user_name, "tid": "t", "oid": oid}
    claims = [{"typ": name, "val": value} for name, value in ids.items()]
    claims += [{"typ": "roles", "val": role} for role in roles]
    principal = b64encode(json.dumps({"auth_typ": "aad", "claims": claims}).encode()).decode()
    return Person(application, {"host": AZURE_HOST, "x-ms-client-principal": principal})


@pytest.fixture
def laptop(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds applications that are told where they run by PORTAL_AUTH and by the platform."""

    def build(portal_auth: str, vouched: bool) -> Application:
        monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True" if vouched else "False")
        return portal.deployment.instance(PORTAL_AUTH=portal_auth).application

    return build


@pytest.fixture
def azure(laptop: Build, monkeypatch: pytest.MonkeyPatch) -> Build:
    """The same for applications that are not on a laptop, as far as the portal can tell."""
    monkeypatch.setattr("shared.settings.Settings.local", False)
    return laptop


@pytest.mark.parametrize(("portal_auth", "vouched"), [("off", False), ("off", True), ("entra", False)])
async def test_where_nobody_vouches_for_the_header_there_is_no_portal(
    azure: Build, portal_auth: str, vouched: bool
) -> None:
    person = in_azure(azure(portal_auth, vouched), "Gateway.Admin")
    for host in (AZURE_HOST, HOST):
        person.headers["host"] = host
        for path in PATHS:
            for page in (await person.get(path), await person.get(path, "HEAD"), await person.post(path)):
                assert (page.status, page.response.body) == (404, b""), path
                assert "Set-Cookie" not in page.response.headers


@pytest.mark.parametrize("portal_auth", ["off", "entra"])
async def test_the_header_counts_for_nothing_on_a_laptop(laptop: Build, portal_auth: str) -> None:
    person = in_azure(laptop(portal_auth, True), "Gateway.Admin")
    person.headers["host"] = HOST
    assert (await person.get("/portal/clients")).location == "/portal/sign-in"


async def test_a_laptops_portal_has_the_machines_names_alone(portal: Portal) -> None:
    own = {"localhost", "localhost:7072", "127.0.0.1", "[::1]:7072"}
    other = {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7072", "", "[::1", "10.0.0.1"}
    admin = await portal.admin()
    for host in own | other:
        admin.headers["host"] = host
        for path in ("/portal/clients", "/portal/sign-in", STATIC):
            assert (await admin.get(path)).status == (200 if host in own else 404), host


async def test_entra_lets_people_in_by_their_roles(azure: Build) -> None:
    application = azure("entra", True)
    owner, admin = in_azure(application, "Gateway.ClientOwner"), in_azure(application, "Gateway.Admin")
    assert (await owner.get("/portal/clients")).status == 200
    assert (await owner.get("/portal/tenants")).status == 404
    assert (await admin.get("/portal/tenants")).status == 200
    assert (await admin.get("/portal/sign-in")).status == 404
    nobody = in_azure(application, "Another.Role")
    for page in [await nobody.get(path) for path in PATHS if path != STATIC] + [await nobody.post(NEW_CLIENT)]:
        assert page.status == 403
        assert "Ask the person who administers the gateway" in page.text


async def test_a_person_who_is_not_signed_in_is_sent_to_entra_and_back(azure: Build) -> None:
    person = Person(azure("entra", True), {"host": AZURE_HOST})
    page = await person.get("/portal/clients/7?done=x")
    assert page.location == "/.auth/login/aad?post_login_redirect_uri=%2Fportal%2Fclients%2F7"
    page = await person.post(NEW_CLIENT)
    assert (page.status, "/.auth/login/aad" in page.text) == (401, True)


async def test_a_session_is_signed_and_ends_with_signing_out(portal: Portal) -> None:
    admin = await portal.admin()
    session = admin.cookies["portal-session"]
    payload, _, signature = session.partition(".")
    other = b64encode(json.dumps(["eve", "Gateway.Admin", 9999999999]).encode()).decode().rstrip("=")
    forged = (f"{other}.{signature}", f"{payload}.", f"{payload}.{signature[:-2]}xx", "", ".", f"{payload}.\u00e9")
    for forgery in forged:
        admin.cookies["portal-session"] = forgery
        assert (await admin.get("/portal/clients")).location == "/portal/sign-in"
    admin.cookies["portal-session"] = session
    assert (await admin.get("/portal/clients")).status == 200
    cookie = (await admin.post("/portal/sign-out")).response.headers["Set-Cookie"]
    assert cookie == "portal-session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"


async def test_a_sign_in_needs_a_name(portal: Portal) -> None:
    for name in (" ", "a" * 65, "a\tb"):
        page = await Person(portal.application).post("/portal/sign-in", {"name": name, "role": "Gateway.Admin"})
        assert (page.status, page.field("name")) == (422, name.strip())
        assert "Set-Cookie" not in page.response.headers


OWN_ORIGINS = ("https://portal.example", "https://PORTAL.example")
OTHER_ORIGINS = (
    *("https://evil.example", "http://portal.example", "https://portal.example:8443", "https://portal.exampl"),
    *("https://portal.example.evil.example", "https://portal.example, https://evil.example", "portal.example", ""),
)


@pytest.mark.parametrize(
    "site", [None, "same-origin", "none", "same-site", "cross-site", "", "Same-Origin", "same-origin, cross-site"]
)
async def test_a_request_that_may_change_something_comes_from_the_portal_itself(azure: Build, site: str | None) -> None:
    """Every combination of the two headers, by every method."""
    admin = in_azure(azure("entra", True), "Gateway.Admin")
    for origin in (None, "null", *OWN_ORIGINS, *OTHER_ORIGINS):
        sent = {"content-type": FORM, "sec-fetch-site": site, "origin": origin}
        headers = {name: value for name, value in sent.items() if value is not None}
        own = origin in OWN_ORIGINS
        allowed = own if site is None else site in ("same-origin", "none") and (own or origin in (None, "null"))
        page = await admin.send("POST", NEW_CLIENT, headers, b"name=&lifetime=90")
        assert (page.status, "not sent from here" in page.text) == ((422, False) if allowed else (403, True)), headers
        for method in ("PUT", "PATCH", "DELETE", "post"):
            assert (await admin.send(method, NEW_CLIENT, headers, b"")).status == (404 if allowed else 403), headers
        for method in ("GET", "HEAD"):
            assert (await admin.send(method, NEW_CLIENT, headers, b"")).status == 200, headers


async def test_no_host_is_no_origin_and_a_form_of_another_site_changes_nothing(azure: Build, portal: Portal) -> None:
    admin = in_azure(azure("entra", True), "Gateway.Admin")
    del admin.headers["host"]
    headers = {"content-type": FORM, "sec-fetch-site": "same-origin", "origin": "https://"}
    for host in ({}, {"host": ""}):
        assert (await admin.send("POST", NEW_CLIENT, headers | host, b"name=Forged&lifetime=90")).status == 403
    local, page = await portal.admin(), {"content-type": FORM, "sec-fetch-site": "cross-site"}
    assert (await local.send("POST", NEW_CLIENT, page, b"name=Forged&lifetime=90")).status == 403
    assert (await local.send("POST", "/portal/sign-in", page, b"name=Eve&role=Gateway.Admin")).status == 403
    assert "Forged" not in (await local.get("/portal/clients?q=forged")).text


SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def test_every_page_carries_the_headers_that_keep_it_safe(portal: Portal) -> None:
    admin = await portal.admin()
    for path in (*PATHS, "/portal/tenants", "/portal/tenants/export", "/portal/connect"):
        page, head = await admin.get(path), await admin.get(path, "HEAD")
        cached = "private, max-age=86400" if path == STATIC else "no-store"
        headers = page.response.headers
        assert {**SAFE, "Cache-Control": cached}.items() <= headers.items()
        assert "Set-Cookie" not in headers
        assert head.response == type(page.response)(page.status, headers)


async def test_a_store_that_is_down_is_said(portal: Portal) -> None:
    tables = "AccountName=a;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:9/a;"
    instance = portal.deployment.instance(KEY_VAULT_URL="https://127.0.0.1:9", TABLES_CONNECTION_STRING=tables)
    page = await (await Person(instance.application).sign_in("ada", "Gateway.Admin")).get("/portal/clients")
    assert (page.status, "Try again in a moment" in page.text) == (503, True)


async def test_a_client_stays_its_first_owners_whoever_has_the_user_name_later(
    azure: Build, portal: Portal, changes: Changes
) -> None:
    """An admin names an owner by user name; from the first visit on Entra's ids of tenant and person decide."""
    application = azure("entra", True)

    def person(user_name: str, oid: str, role: str = "Gateway.ClientOwner") -> Person:
        return in_azure(application, role, user_name=user_name, oid=oid)

    named = (await portal.clients.create("Named app", "Ada.L@example.com", ())).client_id
    path, edit = f"/portal/clients/{named}", f"/portal/clients/{named}/edit"
    ada, namesake = person("ada.l@example.com", "1"), person("ada.l@example.com", "2")
    moved = person("ada.b@example.com", "1")  # Ada, who has another user name by now
    assert named in (await ada.get("/portal/clients")).text
    assert (await portal.clients.get(named)).owner_id == "t/1"
    assert changes()[-1][:3] == ("ada.l@example.com", "client.claim", named)
    assert [(await who.get(path)).status for who in (ada, namesake, moved)] == [200, 404, 200]
    assert named not in (await namesake.get("/portal/clients")).text

    made = await moved.post(NEW_CLIENT, {"name": "Made app", "lifetime": "90"})
    assert made.status == 303
    assert made.response.headers["Set-Cookie"].endswith("; Secure")
    found = [
        entry async for _, entry in portal.clients.list() if isinstance(entry, Client) and entry.name == "Made app"
    ]
    assert [(entry.owner, entry.owner_id) for entry in found] == [("ada.b@example.com", "t/1")]

    admin = person("grace@example.com", "9", "Gateway.Admin")
    form = await admin.get(edit)
    values = {"name": "Named app", "owner": "bob@example.com", "tenants": "", "etag": form.field("etag")}
    assert (await admin.post(edit, values)).status == 303
    assert [(await who.get(path)).status for who in (ada, moved, person("bob@example.com", "3"))] == [404, 404, 200]
