"""`keys ...`: the keys that sign access tokens."""

from datetime import UTC, datetime

import click

from admin.command import YES, confirm, examples, global_options, with_session
from admin.output import Columns, Fields
from admin.session import Session
from shared.directory.errors import Refusal

_KID = "9b1f0c3e5a7d4f6e8c2b1a0d9e8f7c6b"


@click.group()
@global_options
def keys() -> None:
    """Signing keys: what access tokens are signed with.

    To replace a key: rotate, wait until the new key signs and the last token of the old one has expired (an hour,
    unless TOKEN_LIFETIME_SECONDS says otherwise), and retire the old one.
    """


@keys.command("list", epilog=examples("keys list"))
@with_session
async def list_keys(session: Session) -> None:
    """Lists the signing keys, the latest to sign first, and what each is used for."""
    session.output.records(await key_states(session), Columns(("kid", "state", "active_from", "created"), needed=3))


@keys.command(epilog=examples("keys rotate"))
@with_session
async def rotate(session: Session) -> None:
    """Adds a key, which signs as soon as every instance has had time to see it."""
    from shared.oauth import signing_keys

    key = await signing_keys.rotate(session.vault, session.settings)
    await session.audit("keys.rotate", key.version)
    session.output.result(
        {"kid": key.version, "active_from": key.active_from},
        f"Key {key.version} is published, and signs from {key.active_from:%Y-%m-%d %H:%M:%S} UTC on.",
    )


@keys.command(epilog=examples(f"keys retire {_KID}"))
@click.argument("kid")
@click.option("--force", is_flag=True, help="Even if it is the key that signs now.")
@YES
@with_session
async def retire(session: Session, kid: str, force: bool, yes: bool) -> None:
    """Disables a key. The tokens it signed stop working within 60 seconds (CACHE_SECONDS).

    Apps get 401 for them, and ask for new ones. There are none left once the key has not signed for an hour
    (TOKEN_LIFETIME_SECONDS): until then wait, unless the key is in wrong hands.
    """
    from shared.oauth.signing_keys import SECRET_NAME

    states = {str(key["kid"]): key["state"] for key in await key_states(session)}
    if kid not in states:
        raise Refusal(f"there is no signing key {kid!r}: see ./gateway keys list")
    if states[kid] == "signs" and not force:
        raise Refusal(
            "this key signs now: run ./gateway keys rotate, wait until the new key signs, and repeat (or add --force)"
        )
    confirm(f"Retire signing key {kid}? The tokens it signed stop working.", yes=yes)
    await session.vault.disable(SECRET_NAME, kid)
    await session.audit("keys.retire", kid)
    seconds = session.settings.cache_seconds
    session.output.result(
        {"kid": kid, "retired": True, "tokens_end_within_seconds": seconds},
        f"Key {kid} is retired: the tokens it signed stop working within {seconds} seconds.",
    )


async def key_states(session: Session) -> list[Fields]:
    """Every key and what it does, as the gateway's own key ring has it; the latest to sign first."""
    from shared.oauth.signing_keys import SECRET_NAME, SigningKeys

    now = datetime.now(UTC)
    versions = sorted(await session.vault.versions(SECRET_NAME), key=lambda key: key.active_from, reverse=True)
    states = {version.version: "not in use" if version.usable(now) else "retired" for version in versions}
    if "not in use" in states.values():
        ring = await SigningKeys(session.vault, session.settings).ring()
        states |= {key.kid: "verifies" if key.active_from <= now else "published" for key in ring.keys}
        states[ring.signer(now).kid] = "signs"
    return [
        {
            "kid": version.version,
            "state": states[version.version],
            "created": version.created,
            "active_from": version.active_from,
        }
        for version in versions
    ]
