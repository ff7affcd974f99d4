"""`./gateway init` and `keys`, each on a stack of its own."""

from shared.stores.tables import ALL_TABLES
from tests.admin.command_line import CommandLine


async def states(admin: CommandLine) -> list[str]:
    """What the keys do, the latest to sign first."""
    return [key["state"] for key in await admin.json("keys list")]


async def test_init_makes_tables_and_a_key_that_signs_and_does_so_once(new_stack: CommandLine) -> None:
    missing = await new_stack.error("client create --name App --owner Ada --tenants *")
    assert missing == "Table Storage (Clients): there is no such table, run ./gateway init"
    assert await new_stack.json("keys list") == []
    first = await new_stack("init -v --local --json")
    tables, key = first.json["tables"], first.json["created_key"]
    assert tables == [*ALL_TABLES]
    audited = [(line["action"], line["subject"]) for line in first.audit]
    assert audited == [*(("table.create", name) for name in tables), ("keys.rotate", key)]
    again = await new_stack("init -v --local --json")
    assert (again.json["created_key"], again.audit) == (None, [])
    assert [(found["kid"], found["state"]) for found in await new_stack.json("keys list")] == [(key, "signs")]


async def test_a_rotated_key_is_published_before_it_signs_and_can_be_retired(new_stack: CommandLine) -> None:
    old = (await new_stack.json("init"))["created_key"]
    rotated = await new_stack.json("keys rotate")
    keys = await new_stack.json("keys list")
    assert [(key["kid"], key["state"]) for key in keys] == [(rotated["kid"], "published"), (old, "signs")]
    assert keys[0]["active_from"] == rotated["active_from"]
    retired = (await new_stack("keys retire --yes --local", rotated["kid"])).stdout
    assert retired == f"Key {rotated['kid']} is retired: the tokens it signed stop working within 60 seconds.\n"
    assert sorted(await states(new_stack)) == ["retired", "signs"]


async def test_the_key_that_signs_is_retired_only_by_force(new_stack: CommandLine) -> None:
    kid = (await new_stack.json("init"))["created_key"]
    assert await new_stack.error("keys retire abc --yes") == "there is no signing key 'abc': see ./gateway keys list"
    assert "this key signs now" in await new_stack.error("keys retire --yes", kid)
    assert "add --yes" in await new_stack.error("keys retire --force", kid, code=2)
    assert await states(new_stack) == ["signs"]
    forced = await new_stack.json("keys retire --force --yes", kid)
    assert forced == {"kid": kid, "retired": True, "tokens_end_within_seconds": 60}
    assert await states(new_stack) == ["retired"]
    assert (await new_stack.json("init"))["created_key"] != kid
    assert sorted(await states(new_stack)) == ["retired", "signs"]
