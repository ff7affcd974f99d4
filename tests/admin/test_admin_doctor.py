"""`./gateway doctor`, on stacks that are well and on stacks that are not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import pytest
import trustme
from aiohttp import web
from aiohttp.typedefs import Handler
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from local.vault.certificates import server_context
from local.vault.server import create_app
from local.vault.store import Store
from shared.oauth.signing_keys import SECRET_NAME
from shared.settings import Settings
from shared.stores.tables import ALL_TABLES, CLIENTS, PAGES, TENANTS, Table, table_service
from shared.stores.vault import Vault
from tests.admin.command_line import CommandLine

BASE_URL = "https://fhir.riverside.example/stu3"
NOW = datetime.now(UTC).replace(microsecond=0)
Tables = dict[str, Table]
Values = dict[str, str]


@pytest.fixture
async def tables(environment: Values) -> AsyncIterator[Tables]:
    """The tables of the new stack."""
    async with table_service(Settings.from_environment(environment)) as service:
        yield {name: Table(service, name) for name in (CLIENTS, PAGES, TENANTS)}


@asynccontextmanager
async def serving(app: web.Application, folder: Path | None = None) -> AsyncIterator[str]:
    """The URL of an application that is served meanwhile; over TLS with a vault's certificate, given its folder."""
    runner = web.AppRunner(app)
    await runner.setup()
    context = server_context(folder) if folder is not None else None
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    scheme = "http" if context is None else "https"
    yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


Found = tuple[str, str, str, str]
"""Its state, subject, text and fix."""


async def examined(admin: CommandLine, subject: str = "", code: int = 1) -> list[Found]:
    """What doctor tells, of one subject if it is named."""
    result = await admin("doctor --local --json")
    assert (result.code, result.stderr) == (code, "")
    findings = [(found["state"], found["subject"], found["text"], found["fix"]) for found in result.json]
    return [found for found in findings if subject in ("", found[1])]


async def test_a_new_stack_needs_init_and_is_well_then(new_stack: CommandLine) -> None:
    assert [findings[1:] for findings in await examined(new_stack) if findings[0] == "fail"] == [
        ("Table Storage", f"missing tables: {', '.join(ALL_TABLES)}", "./gateway init"),
        ("signing key", "there is none: no token can be issued", "./gateway init"),
    ]
    await new_stack.json("init")
    findings = await examined(new_stack, code=0)
    assert {state for state, *_ in findings} == {"ok"}
    stores = ("clock", "clock", "Key Vault", "Key Vault", "Table Storage", "Table Storage")
    assert [found[1] for found in findings] == ["settings", *stores, "signing key", "Tenants", "Pages", "secrets"]
    for_people = await new_stack("--local doctor")
    assert "ok    Key Vault      you may write secrets\n" in for_people.stdout
    assert for_people.audit == []


async def test_rows_that_cannot_be_used_are_reported_with_their_column(new_stack: CommandLine, tables: Tables) -> None:
    good, odd, wrong, unknown = (str(uuid4()) for _ in range(4))
    await new_stack.json("init")
    for tenant, version, columns in (
        (good, "stu3", {}),
        (f"{{{odd.upper()}}}", "stu3", {}),
        (wrong, "r4", {"TimeoutSeconds": "soon"}),
        (unknown, "r4", {"Acess": "write"}),
        (good.upper(), "STU3", {}),
    ):
        await tables[TENANTS].insert({"PartitionKey": tenant, "RowKey": version, "BaseUrl": BASE_URL, **columns})
    findings = await examined(new_stack, "Tenants")
    assert [state for state, *_ in findings] == ["fail"] * 3 + ["warn"] * 2
    assert {fix for *_, fix in findings} == {
        f"./gateway tenant set {wrong} r4 --timeout-seconds ...",
        *("correct or remove it in Storage Explorer", "remove all but one in Storage Explorer"),
        *(f"./gateway tenant set {tenant} stu3 (writes them as they should be)" for tenant in (odd, good)),
    }
    assert any("column Acess: is not a column of this table" in text for _, _, text, _ in findings)

    await new_stack.json("tenant set", odd, "stu3")
    assert not any(odd.upper() in text for _, _, text, _ in await examined(new_stack))
    for number in range(20):
        await tables[TENANTS].insert({"PartitionKey": str(number), "RowKey": "r4"})
    findings = await examined(new_stack, "Tenants")
    assert (len(findings), findings[-1]) == (21, ("warn", "Tenants", "4 more findings", "./gateway tenant list"))


async def test_secrets_that_are_missing_or_end_soon_are_reported(new_stack: CommandLine, vault: Vault) -> None:
    await new_stack.json("init")
    tenants = {name: str(uuid4()) for name in ("gone", "late", "soon", "Fine", "worn", "ended", "Kept")}
    await vault.set("late", "x", expires=NOW - timedelta(days=1))
    await vault.set("soon", "x", expires=NOW + timedelta(days=10, hours=1))
    await vault.set("fine", "x", expires=NOW + timedelta(days=31))
    for name, days in {"worn": 5, "ended": -1, "kept": 31}.items():
        issued = trustme.CA().issue_cert("gateway", not_after=NOW + timedelta(days=days, hours=1))
        await vault.set(name, issued.private_key_and_cert_chain_pem.bytes().decode(), expires=NOW + timedelta(days=90))
    for name, tenant in tenants.items():
        way = "mtls" if name in ("worn", "ended", "Kept") else "basic"
        await new_stack.json(f"tenant set {tenant} stu3 --base-url {BASE_URL} --auth {way} --auth-secret", name)
    findings = {text: (state, fix) for state, _, text, fix in await examined(new_stack, "secrets")}
    for name, state, end in (
        ("gone", "fail", "is not in the vault"),
        ("late", "fail", "is disabled or expired"),
        ("soon", "warn", "expires in 10 days"),
        ("worn", "warn", "expires in 5 days"),
        ("ended", "fail", "has a certificate that has ended"),
    ):
        fix = f"./gateway tenant set {tenants[name]} stu3 --secret-value-from FILE"
        assert findings.pop(f"secret {name} of the row {tenants[name]} stu3 {end}") == (state, fix)
    assert findings == {}


async def test_clients_secrets_that_end_or_lack_a_half(new_stack: CommandLine, tables: Tables, vault: Vault) -> None:
    await new_stack.json("init")
    create = "client create --name App --owner Ada --tenants * --expires"
    _, soon, gone, off, left = [await new_stack.json(create, f"{days}d") for days in (40, 9, 90, 90, 90)]
    await vault.delete(f"client-{gone['client_id']}-{gone['secret_id']}")
    name = f"client-{off['client_id']}-{off['secret_id']}"
    await vault.disable(name, (await vault.versions(name))[0].version)
    for row in await tables[CLIENTS].partition(left["client_id"]):
        await tables[CLIENTS].delete(left["client_id"], str(row["RowKey"]))
    await tables[CLIENTS].insert({"PartitionKey": "typed", "RowKey": "client", "Tenants": "contoso"})
    findings = {text: fix for state, _, text, fix in await examined(new_stack) if state != "ok"}
    delete = "./gateway client delete-secret"
    for new, text in (
        (soon, "secret {secret_id} of client {client_id} expires in 8 days"),
        (gone, "secret {secret_id} of client {client_id} has no hash in the vault: it does not work"),
        (off, "secret {secret_id} of client {client_id} is disabled in the vault: it does not work"),
        (left, "client-{client_id}-{secret_id} in the vault belongs to no client: it opens nothing"),
    ):
        assert findings.pop(text.format(**new)).endswith(f"{delete} {new['client_id']} {new['secret_id']}")
    wrong = "table Clients, row (typed, client), column Tenants: must be * or a comma list of tenant GUIDs"
    assert findings == {wrong: "correct or remove it in Storage Explorer"}
    for client in (gone, off, left):
        await new_stack.json("client delete-secret --yes", client["client_id"], client["secret_id"])
    assert not any(fix.startswith(delete) for *_, fix in await examined(new_stack))


async def test_an_old_signing_key_is_to_be_rotated(new_stack: CommandLine, vault: Vault) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    old = await vault.set(SECRET_NAME, pem.decode(), active_from=NOW - timedelta(days=200))
    await new_stack.json("init")
    ((state, _, text, fix),) = await examined(new_stack, "signing key", code=0)
    assert (state, fix) == ("warn", "./gateway keys rotate")
    assert text.startswith(f"{old.version} signs, for 200 days")
    young = (await new_stack.json("keys rotate"))["kid"]
    _, published = await examined(new_stack, "signing key", code=0)
    assert published[2].startswith(f"{young} is young: it signs from")


async def test_page_handles_that_no_upkeep_deletes_are_reported(new_stack: CommandLine, tables: Tables) -> None:
    await new_stack.json("init")
    for days, state, text in (
        (1, "ok", "1 page handles, 0 of them expired"),
        (-1, "ok", "2 page handles, 1 of them expired"),
        (-4, "warn", "3 page handles, 2 of them expired, some more than 3 days ago"),
    ):
        row = {"PartitionKey": "t", "RowKey": str(days), "Expires": NOW + timedelta(days=days)}
        await tables[PAGES].insert(row)
        assert [found[:3] for found in await examined(new_stack, "Pages", code=0)] == [(state, "Pages", text)]


async def test_who_may_only_read_the_vault_is_reported(new_stack: CommandLine, environment: Values) -> None:
    @web.middleware
    async def read_only(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "GET":
            return web.json_response({"error": {"code": "Forbidden", "message": "..."}}, status=403)
        return await handler(request)

    folder = Path(environment["LOCAL_VAULT"])
    app = create_app(Store(folder / "secrets.json"), (folder / "token").read_text())
    app.middlewares.append(read_only)
    async with serving(app, folder) as url:
        new_stack.configure(environment | {"KEY_VAULT_URL": url})
        findings = await examined(new_stack, "Key Vault")
    assert [(state, text) for state, _, text, _ in findings] == [
        ("ok", "you may read and list secrets"),
        ("warn", "you may not write secrets: no keys, no clients"),
    ]


async def test_who_may_nothing_and_a_wrong_clock_are_reported(new_stack: CommandLine, environment: Values) -> None:
    async def refuse(request: web.Request) -> web.Response:
        date = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
        return web.json_response({"odata.error": {"code": "AuthorizationFailure"}}, status=403, headers={"Date": date})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    async with serving(app) as url:
        connection_string = f"AccountName=a;AccountKey=eA==;TableEndpoint={url}/a;"
        new_stack.configure(environment | {"TABLES_CONNECTION_STRING": connection_string})
        findings = [found for found in await examined(new_stack) if found[0] == "fail"]
    texts = {subject: text for _, subject, text, _ in findings}
    assert texts["Table Storage"] == "Table Storage (Tenants) answered 403"
    assert texts["clock"] in {f"within {seconds} s of Table Storage's" for seconds in range(600, 660)}


async def test_stores_that_do_not_answer_are_reported_once_each(new_stack: CommandLine, environment: Values) -> None:
    nowhere = "AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"
    new_stack.configure(environment | {"KEY_VAULT_URL": "https://127.0.0.1:1", "TABLES_CONNECTION_STRING": nowhere})
    failures = [found[1::2] for found in await examined(new_stack) if found[0] == "fail"]
    start = "start the stack on this machine: make run"
    assert failures == [("Key Vault", start), ("Table Storage", start)]


async def test_every_setting_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    """And there is nothing more to check."""
    wrong = {"PUBLIC_BASE_URL": "http://a", "KEY_VAULT_URL": "https://v.example", "CACHE_SECONDS": "x"}
    result = await CommandLine(tmp_path)("doctor --json", environment=wrong)
    assert (result.code, result.stderr) == (1, "")
    found = [(found["state"], found["text"].split()[0], bool(found["fix"])) for found in result.json]
    assert found == [("fail", name, True) for name in ("PUBLIC_BASE_URL", "TABLES_ENDPOINT", "CACHE_SECONDS")]
