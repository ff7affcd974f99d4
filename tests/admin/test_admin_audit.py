"""Every command that changes something leaves audit lines, and none of them, nor any other, holds a secret."""

from uuid import uuid4

from admin.cli import cli
from tests.admin.command_line import CommandLine, Result, commands

BASE = ("--base-url", "https://fhir.riverside.example/stu3")
READS = {
    *("client list", "client show", "completion", "doctor", "keys list", "smoke"),
    *("tenant export", "tenant list", "tenant show", "tenant verify"),
    "upkeep",  # has a line of its own
}


async def test_every_change_is_audited_without_a_secret(new_stack: CommandLine) -> None:
    done: dict[str, Result] = {}
    secrets = ["p4ss-phrase"]
    tenant = str(uuid4())

    async def run(name: str, *arguments: str, stdin: bytes = b"") -> dict[str, str]:
        result = done[name] = await new_stack(name, *arguments, "-v", "--local", "--json", stdin=stdin)
        assert result.code == 0, result.stderr
        fields: dict[str, str] = result.json
        if "client_secret" in fields:
            secrets.append(fields["client_secret"].partition(".")[2])
        return fields

    key = (await run("init"))["created_key"]
    await run("keys rotate")
    await run("keys retire", key, "--force", "--yes")
    new = await run("client create", "--name", "App", "--owner", "Ada", "--tenants", "*")
    client = new["client_id"]
    await run("client add-secret", client)
    await run("client delete-secret", client, new["secret_id"], "--yes")
    await run("client set", client, "--name", "Ward app")
    await run("client disable", client)
    await run("client enable", client)
    await run("client delete", client, "--yes")
    auth = ("--auth", "basic", "--auth-secret", "riverside", "--secret-value-from", "-")
    await run("tenant set", tenant, "stu3", *BASE, *auth, stdin=b"gateway:p4ss-phrase")
    await run("tenant disable", tenant, "stu3")
    await run("tenant enable", tenant, "stu3")
    file = f'TenantId,FhirVersion,ExtraHeaders\n{tenant},stu3,"{{""X-Site"": ""p4ss-phrase""}}"\n'
    await run("tenant import", "-", "--replace", stdin=file.encode())
    await run("tenant remove", tenant, "stu3", "--yes")

    changes = {" ".join(path) for path, _ in commands(cli) if path[0] != "azure"}  # those touch files alone
    assert set(done) == changes - READS
    for name, result in done.items():
        *_, last = result.audit
        action = {"init": "keys.rotate"}.get(name, name.replace(" ", "."))
        assert (last["event"], last["actor"], last["action"]) == ("change", "ada", action)
        assert last["subject"] in {key, client, f"{tenant}/stu3"} or name in {"keys rotate", "tenant import"}
        assert not any(secret in result.stderr for secret in secrets), name
        assert "client_secret" in result.stdout or not any(secret in result.stdout for secret in secrets), name


async def test_what_was_refused_is_not_audited(admin: CommandLine) -> None:
    for command in (
        f"tenant set {uuid4()} stu3 --base-url fhir.example",
        f"tenant remove {uuid4()} stu3 --yes",
        f"client delete {uuid4()} --yes",
        "client create --name App --owner Ada --tenants contoso",
        "keys retire abc --yes",
    ):
        assert await admin.error(command)
