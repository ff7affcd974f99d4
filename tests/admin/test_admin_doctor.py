"""`./gateway doctor`, on stacks that are well and on stacks that are not."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from admin.doctor import setting_findings
from local.azurite.table_service import TableService
from local.vault.certificates import server_context
from local.vault.server import VaultServer, create_app
from local.vault.store import Store
from shared.oauth.signing_keys import SECRET_NAME
from shared.settings import Settings
from shared.stores.tables import CLIENTS, PAGES, TENANTS, Table, table_service
from shared.stores.vault import Vault
from tests.admin.command_line import CommandLine, settings_of

BASE_URL = "https://fhir.riverside.example/stu3"
NOW = datetime.now(UTC).replace(microsecond=0)


@asynccontextmanager
async def stores(admin: CommandLine) -> AsyncIterator[tuple[dict[str, Table], Vault]]:
    """What the command line works on."""
    values = json.loads((admin.folder / "local.settings.json").read_text())["Values"]
    settings = Settings.from_environment(values)
    vault = Vault(settings)
    async with table_service(settings) as service:
        yield {name: Table(service, name) for name in (CLIENTS, PAGES, TENANTS)}, vault
    await vault.close()


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


async def examined(admin: CommandLine, code: int = 1) -> list[tuple[str, str, str, str]]:
    answer = await admin("--local", "--json", "doctor")
    assert (answer.code, answer.stderr) == (code, "")
    return [(found["state"], found["subject"], found["text"], found["fix"]) for found in answer.json]


async def test_a_new_stack_is_told_to_run_init_and_is_well_then(new_stack: CommandLine) -> None:
    findings = await examined(new_stack)
    assert [finding[1:] for finding in findings if finding[0] == "fail"] == [
        ("Table Storage", "missing tables: Tenants, Clients, Pages, Usage", "./gateway init"),
        ("signing key", "there is none: no token can be issued", "./gateway init"),
    ]
    assert (await new_stack("--local", "init")).code == 0
    findings = await examined(new_stack, code=0)
    assert {finding[0] for finding in findings} == {"ok"}
    assert [finding[1] for finding in findings] == [
        "settings",
        *("clock", "clock"),
        *("Key Vault", "Key Vault"),
        *("Table Storage", "Table Storage"),
        *("signing key", "Tenants", "Pages", "secrets"),
    ]
    for_people = await new_stack("--local", "doctor")
    assert "ok    Key Vault      you may write secrets\n" in for_people.stdout


async def test_examining_changes_nothing(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    async with stores(new_stack) as (tables, vault):
        secrets = [secret async for secret in vault.secrets()]
        assert (await new_stack("--local", "doctor")).audit == []
        assert [secret async for secret in vault.secrets()] == secrets
        assert [row for table in tables.values() async for row in table.scan()] == []


async def test_rows_that_cannot_be_used_are_told_with_their_column(new_stack: CommandLine) -> None:
    good, odd, wrong, unknown = (str(uuid4()) for _ in range(4))
    assert (await new_stack("--local", "init")).code == 0
    async with stores(new_stack) as (tables, _):
        for tenant, version, columns in (
            (good, "stu3", {}),
            (f"{{{odd.upper()}}}", "stu3", {}),
            (wrong, "r4", {"TimeoutSeconds": "soon"}),
            (unknown, "r4", {"Acess": "write"}),
            (good.upper(), "STU3", {}),
        ):
            row = {"PartitionKey": tenant, "RowKey": version, "BaseUrl": BASE_URL, **columns}
            await tables[TENANTS].insert(row)
    findings = [finding for finding in await examined(new_stack) if finding[1] == "Tenants"]
    by_state = sorted((state, fix) for state, _, _, fix in findings)
    assert by_state == sorted(
        [
            ("fail", f"./gateway tenant set {wrong} r4 --timeout-seconds ..."),
            ("fail", "correct or remove it in Storage Explorer"),
            ("fail", "remove all but one in Storage Explorer"),
            ("warn", f"./gateway tenant set {odd} stu3 (writes them as they should be)"),
            ("warn", f"./gateway tenant set {good} stu3 (writes them as they should be)"),
        ]
    )
    assert [state for state, *_ in findings] == ["fail"] * 3 + ["warn"] * 2
    assert any("column Acess: is not a column of this table" in text for _, _, text, _ in findings)

    assert (await new_stack("--local", "tenant", "set", odd, "stu3")).code == 0
    assert not any(odd.upper() in text for _, _, text, _ in await examined(new_stack))


async def test_of_many_wrong_rows_the_first_are_told(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    async with stores(new_stack) as (tables, _):
        for number in range(23):
            await tables[TENANTS].insert({"PartitionKey": str(number), "RowKey": "r4"})
    findings = [finding for finding in await examined(new_stack) if finding[1] == "Tenants"]
    assert len(findings) == 21
    assert findings[-1] == ("warn", "Tenants", "3 more findings", "./gateway tenant list")


async def test_secrets_that_are_missing_or_end_soon_are_told(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    names = {"gone": "fail", "late": "fail", "soon": "warn", "Fine": None}
    tenants = {name: str(uuid4()) for name in names}
    async with stores(new_stack) as (_, vault):
        await vault.set("late", "x", expires=NOW - timedelta(days=1))
        await vault.set("soon", "x", expires=NOW + timedelta(days=10, hours=1))
        await vault.set("fine", "x", expires=NOW + timedelta(days=31))
    for name, tenant in tenants.items():
        row = ("--base-url", BASE_URL, "--auth", "basic", "--auth-secret", name)
        assert (await new_stack("--local", "tenant", "set", tenant, "stu3", *row)).code == 0
    told = {(finding[0], finding[2], finding[3]) for finding in await examined(new_stack) if finding[1] == "secrets"}
    ends = {"gone": "is not in the vault", "late": "is disabled or expired", "soon": "expires in 10 days"}
    assert told == {
        (
            names[name],
            f"secret {name} of the row {tenants[name]} stu3 {end}",
            f"./gateway tenant set {tenants[name]} stu3 --secret-value-from FILE",
        )
        for name, end in ends.items()
    }


async def test_clients_secrets_that_end_soon_or_lack_a_half_are_told(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    create = ("--local", "--json", "client", "create", "--name", "App", "--owner", "Ada", "--tenants", "*")
    fine, soon, gone, left = [
        (await new_stack(*create, "--expires", days)).json for days in ("40d", "9d", "90d", "90d")
    ]
    async with stores(new_stack) as (tables, vault):
        await vault.delete(f"client-{gone['client_id']}-{gone['secret_id']}")
        for row in await tables[CLIENTS].partition(left["client_id"]):
            await tables[CLIENTS].delete(left["client_id"], str(row["RowKey"]))
        await tables[CLIENTS].insert({"PartitionKey": "typed", "RowKey": "client", "Tenants": "contoso"})
    told = {finding[2]: (finding[0], finding[3]) for finding in await examined(new_stack) if finding[0] != "ok"}
    delete = "./gateway client delete-secret"
    soon_text = f"secret {soon['secret_id']} of client {soon['client_id']} expires in 8 days"
    assert told.pop(soon_text)[1].endswith(f"{delete} {soon['client_id']} {soon['secret_id']}")
    assert told == {
        f"secret {gone['secret_id']} of client {gone['client_id']} has no hash in the vault: it does not work": (
            "warn",
            f"{delete} {gone['client_id']} {gone['secret_id']}",
        ),
        f"client-{left['client_id']}-{left['secret_id']} in the vault belongs to no client: it opens nothing": (
            "warn",
            f"{delete} {left['client_id']} {left['secret_id']}",
        ),
        "table Clients, row (typed, client), column Tenants: must be * or a comma list of tenant GUIDs": (
            "fail",
            "correct or remove it in Storage Explorer",
        ),
    }
    for client in (gone, left):
        command = ("client", "delete-secret", client["client_id"], client["secret_id"], "--yes")
        assert (await new_stack("--local", *command)).code == 0
    assert not any(finding[3].startswith(delete) for finding in await examined(new_stack))
    assert fine["client_id"] not in str(told)


async def test_the_signing_keys_age_is_told(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    young = (await new_stack("--local", "--json", "keys", "rotate")).json["kid"]
    (signs, published) = [finding for finding in await examined(new_stack, code=0) if finding[1] == "signing key"]
    assert "signs, for 0 days" in signs[2]
    assert published[2].startswith(f"{young} is young: it signs from")


async def test_an_old_signing_key_is_to_be_rotated(new_stack: CommandLine) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    async with stores(new_stack) as (_, vault):
        key = await vault.set(SECRET_NAME, pem.decode(), active_from=NOW - timedelta(days=200))
    assert (await new_stack("--local", "init")).code == 0
    (found,) = [finding for finding in await examined(new_stack, code=0) if finding[1] == "signing key"]
    assert (found[0], found[3]) == ("warn", "./gateway keys rotate")
    assert found[2].startswith(f"{key.version} signs, for 200 days")


async def test_page_handles_that_nobody_sweeps_are_told(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    async with stores(new_stack) as (tables, _):
        for handle, days in (("a", 1), ("b", -1)):
            row = {"PartitionKey": "t", "RowKey": handle, "Expires": NOW + timedelta(days=days)}
            await tables[PAGES].insert(row)
        (found,) = [finding for finding in await examined(new_stack, code=0) if finding[1] == "Pages"]
        assert (found[0], found[2]) == ("ok", "2 page handles, 1 of them expired")
        await tables[PAGES].insert({"PartitionKey": "t", "RowKey": "c", "Expires": NOW - timedelta(days=3)})
    (found,) = [finding for finding in await examined(new_stack, code=0) if finding[1] == "Pages"]
    assert (found[0], found[2]) == ("warn", "3 page handles, 2 of them expired, some more than 2 days ago")


async def test_who_may_only_read_the_vault_is_told(
    admin: CommandLine, own_tables: TableService, vault_server: VaultServer, tmp_path: Path
) -> None:
    @web.middleware
    async def read_only(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "GET":
            return web.json_response({"error": {"code": "Forbidden", "message": "..."}}, status=403)
        return await handler(request)

    folder = vault_server.folder
    app = create_app(Store(folder / "secrets.json"), (folder / "token").read_text())
    app.middlewares.append(read_only)
    async with serving(app, folder) as url:
        reader = CommandLine(tmp_path)
        reader.configure(settings_of(own_tables, vault_server) | {"KEY_VAULT_URL": url})
        findings = (await reader("--local", "--json", "doctor")).json
    assert [(found["state"], found["text"]) for found in findings if found["subject"] == "Key Vault"] == [
        ("ok", "you may read and list secrets"),
        ("warn", "you may not write secrets: no keys, no clients"),
    ]


async def test_who_may_nothing_and_whose_clock_is_wrong_is_told(
    admin: CommandLine, own_tables: TableService, vault_server: VaultServer, tmp_path: Path
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        date = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
        return web.json_response({"odata.error": {"code": "AuthorizationFailure"}}, status=403, headers={"Date": date})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    async with serving(app) as url:
        stranger = CommandLine(tmp_path)
        connection_string = f"AccountName=a;AccountKey=eA==;TableEndpoint={url}/a;"
        values = settings_of(own_tables, vault_server) | {"TABLES_CONNECTION_STRING": connection_string}
        stranger.configure(values)
        answer = await stranger("--local", "--json", "doctor")
    failures = [(found["subject"], found["text"]) for found in answer.json if found["state"] == "fail"]
    assert answer.code == 1
    assert ("Table Storage", "Table Storage (Tenants) answered 403") in failures
    (clock,) = [text for subject, text in failures if subject == "clock"]
    assert clock in {f"within {seconds} s of Table Storage's" for seconds in range(600, 612)}


async def test_stores_that_do_not_answer_are_told_once_each(new_stack: CommandLine) -> None:
    values = json.loads((new_stack.folder / "local.settings.json").read_text())["Values"]
    nowhere = "AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"
    new_stack.configure(values | {"KEY_VAULT_URL": "https://127.0.0.1:1", "TABLES_CONNECTION_STRING": nowhere})
    failures = [finding[1:] for finding in await examined(new_stack) if finding[0] == "fail"]
    assert [subject for subject, *_ in failures] == ["Key Vault", "Table Storage"]
    assert {fix for *_, fix in failures} == {"start the stack on this machine: make run"}


def test_every_setting_that_is_wrong_is_told_at_once() -> None:
    environment = {"PUBLIC_BASE_URL": "http://a", "KEY_VAULT_URL": "https://v.example", "CACHE_SECONDS": "x"}
    told = {finding.text.split()[0]: finding.fix for finding in setting_findings(environment)}
    assert list(told) == ["PUBLIC_BASE_URL", "TABLES_ENDPOINT", "CACHE_SECONDS"]
    assert all(told.values())
    environment |= {"PUBLIC_BASE_URL": "https://a", "TABLES_ENDPOINT": "https://t.example", "CACHE_SECONDS": "5"}
    assert setting_findings(environment) == []


async def test_without_settings_there_is_nothing_more_to_check(tmp_path: Path) -> None:
    answer = await CommandLine(tmp_path)("doctor")
    assert (answer.code, answer.stderr) == (1, "")
    assert [line.split()[:2] for line in answer.stdout.splitlines()[::2]] == [["fail", "settings"]] * 3
