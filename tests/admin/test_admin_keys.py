"""`./gateway init` and `keys`, each on a stack of its own."""

from tests.admin.command_line import CommandLine


async def states(admin: CommandLine) -> list[str]:
    """What the keys do, the latest to sign first."""
    return [key["state"] for key in (await admin("--local", "--json", "keys", "list")).json]


async def test_init_makes_tables_and_a_key_that_signs_and_does_so_once(new_stack: CommandLine) -> None:
    first = await new_stack("--local", "--json", "init")
    assert first.json["tables"] == ["Tenants", "Clients", "Pages", "Usage"]
    made = [("table.create", name) for name in first.json["tables"]]
    audited = [(line["action"], line["subject"]) for line in first.audit]
    assert audited == [*made, ("keys.rotate", first.json["created_key"])]
    assert await states(new_stack) == ["signs"]
    again = await new_stack("--local", "--json", "init")
    assert (again.json["created_key"], again.audit) == (None, [])
    (key,) = (await new_stack("--local", "--json", "keys", "list")).json
    assert key["kid"] == first.json["created_key"]


async def test_without_init_a_change_says_to_run_it(new_stack: CommandLine) -> None:
    answer = await new_stack("--local", "client", "create", "--name", "App", "--owner", "Ada", "--tenants", "*")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: Table Storage (Clients): there is no such table, run ./gateway init\n"
    assert (await new_stack("--local", "--json", "keys", "list")).json == []


async def test_a_rotated_key_is_published_before_it_signs(new_stack: CommandLine) -> None:
    old = (await new_stack("--local", "--json", "init")).json["created_key"]
    rotated = await new_stack("--local", "--json", "keys", "rotate")
    assert [line["action"] for line in rotated.audit] == ["keys.rotate"]
    keys = (await new_stack("--local", "--json", "keys", "list")).json
    assert [(key["kid"], key["state"]) for key in keys] == [(rotated.json["kid"], "published"), (old, "signs")]
    assert keys[0]["active_from"] == rotated.json["active_from"]


async def test_the_key_that_signs_is_retired_only_by_force(new_stack: CommandLine) -> None:
    kid = (await new_stack("--local", "--json", "init")).json["created_key"]
    refused = await new_stack("--local", "keys", "retire", kid, "--yes")
    assert (refused.code, refused.stdout) == (1, "")
    assert "this key signs now" in refused.stderr
    assert await states(new_stack) == ["signs"]

    assert (await new_stack("--local", "keys", "rotate")).code == 0
    unasked = await new_stack("--local", "keys", "retire", kid, "--force")
    assert unasked.code == 2
    forced = await new_stack("--local", "--json", "keys", "retire", kid, "--force", "--yes")
    assert forced.json == {"kid": kid, "retired": True, "tokens_end_within_seconds": 60}
    assert await states(new_stack) == ["signs", "retired"]


async def test_a_published_key_can_be_retired(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    kid = (await new_stack("--local", "--json", "keys", "rotate")).json["kid"]
    retired = await new_stack("--local", "keys", "retire", kid, "--yes")
    assert retired.stdout == f"Key {kid} is retired: the tokens it signed stop working within 60 seconds.\n"
    assert [(line["action"], line["subject"]) for line in retired.audit] == [("keys.retire", kid)]
    assert sorted(await states(new_stack)) == ["retired", "signs"]


async def test_an_unknown_key_is_one_line(new_stack: CommandLine) -> None:
    assert (await new_stack("--local", "init")).code == 0
    answer = await new_stack("--local", "keys", "retire", "abc", "--yes")
    assert (answer.code, answer.stderr) == (1, "Error: there is no signing key 'abc': see ./gateway keys list\n")


async def test_init_makes_a_key_when_all_are_retired(new_stack: CommandLine) -> None:
    kid = (await new_stack("--local", "--json", "init")).json["created_key"]
    assert (await new_stack("--local", "keys", "retire", kid, "--force", "--yes")).code == 0
    assert await states(new_stack) == ["retired"]
    assert (await new_stack("--local", "--json", "init")).json["created_key"] != kid
    assert sorted(await states(new_stack)) == ["retired", "signs"]
