"""The checks of `doctor`: clock, permissions, signing key, rows, page handles and secrets."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from uuid import uuid4

import requests
from azure.core.exceptions import ClientAuthenticationError

from admin.keys import key_states
from admin.output import Finding, State, counted
from admin.session import Session
from admin.tenants import kebab_case
from shared.directory.client import EXPIRES_SOON, vault_name
from shared.directory.errors import RowError
from shared.directory.provider import Provider
from shared.directory.tenant_columns import COLUMNS, KEY_COLUMNS
from shared.directory.tenant_registry import by_meaning
from shared.directory.tenant_row import parse_version
from shared.directory.typed_text import parse_tenant_id
from shared.oauth.signing_keys import SECRET_NAME
from shared.settings import Settings
from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.tables import ALL_TABLES, PAGES, TENANTS
from shared.stores.vault import SecretVersion
from shared.upstream.credentials.stored import stored_certificate_end

_OLD_KEY = timedelta(days=180)
_SWEPT_AFTER = timedelta(days=3)  # the first night after a day that they were expired
_SKEW_SECONDS = 30
_MAX_SKEW_SECONDS = 300
_TIMEOUT_SECONDS = 5
_MAX_ROWS = 20
_HASH_NAME = re.compile(r"client-(.+)-([0-9a-z]{1,32})")
_VAULT_ROLE = "give yourself the role Key Vault Secrets Officer on the vault, and sign in (az login)"
_TABLES_ROLE = "give yourself the role Storage Table Data Contributor on the account, and sign in (az login)"
_REACH = "check that name, firewall and private endpoints let this machine reach it"
_LOCAL = "start the stack on this machine: make run"


async def examine_stores(session: Session) -> AsyncIterator[Finding]:
    """Checks the clock, both stores, and what they hold where they can be read."""
    async for finding in _clock(session):
        yield finding
    failed: set[str] = set()
    for subject, needs, check, role in (
        ("Key Vault", (), _vault, _VAULT_ROLE),
        ("Table Storage", (), _tables, _TABLES_ROLE),
        ("signing key", ("Key Vault",), _signing_key, _VAULT_ROLE),
        ("Tenants", ("Table Storage",), _tenants, _TABLES_ROLE),
        ("Pages", ("Table Storage",), _pages, _TABLES_ROLE),
        ("secrets", ("Key Vault", "Table Storage"), _secrets, _VAULT_ROLE),
    ):
        if not failed.isdisjoint(needs):
            continue
        try:
            async for finding in check(session):
                yield finding
                failed |= {subject} if finding.state is State.FAIL else set()
        except StoreUnavailable as error:
            failed.add(subject)
            fix = _LOCAL if session.settings.local else role if _refused(error) else _REACH
            yield Finding(State.FAIL, subject, str(error), fix)


async def _clock(session: Session) -> AsyncIterator[Finding]:
    """Compares this machine's clock with the services', by the Date of a response (RFC 9110 section 6.6.1)."""
    for store, url in (("Key Vault", session.settings.key_vault_url), ("Table Storage", session.tables_url)):
        date = await asyncio.to_thread(_date_of, url, session.settings)
        if date is None:
            yield Finding(State.SKIPPED, "clock", f"{store} gave no date")
            continue
        seconds = abs((datetime.now(UTC) - date).total_seconds())
        state = State.OK if seconds <= _SKEW_SECONDS else State.WARN if seconds <= _MAX_SKEW_SECONDS else State.FAIL
        fix = "" if state is State.OK else "set this machine's clock by a time server"
        yield Finding(state, "clock", f"within {seconds:.0f} s of {store}'s", fix)


def _date_of(url: str, settings: Settings) -> datetime | None:
    with requests.Session() as client, suppress(requests.RequestException, KeyError, ValueError):
        client.trust_env = not settings.local
        verify = str(settings.local_vault / "ca.pem") if settings.local_vault is not None else True
        response = client.get(url, timeout=_TIMEOUT_SECONDS, verify=verify, allow_redirects=False)
        return parsedate_to_datetime(response.headers["Date"])
    return None


async def _vault(session: Session) -> AsyncIterator[Finding]:
    await session.vault.versions(SECRET_NAME)
    await session.vault.get(SECRET_NAME)
    yield Finding(State.OK, "Key Vault", "you may read and list secrets")
    try:
        # Changes nothing: there is no such secret. Whoever may not write is refused all the same.
        await session.vault.disable(f"doctor-{uuid4()}", "0" * 32)
    except StoreConflict:
        yield Finding(State.OK, "Key Vault", "you may write secrets")
    except StoreUnavailable as error:
        if not _refused(error):
            raise
        yield Finding(State.WARN, "Key Vault", "you may not write secrets: no keys, no clients", _VAULT_ROLE)


async def _tables(session: Session) -> AsyncIterator[Finding]:
    missing = [name for name in ALL_TABLES if not await session.table(name).exists()]
    if missing:
        text = f"missing tables: {', '.join(missing)}"
        yield Finding(State.FAIL, "Table Storage", text, "./gateway init")
        return
    nowhere = (f"doctor-{uuid4()}", "doctor")
    await session.table(TENANTS).get(*nowhere)
    yield Finding(State.OK, "Table Storage", "you may read rows")
    try:
        await session.table(TENANTS).delete(*nowhere)
        yield Finding(State.OK, "Table Storage", "you may write rows")
    except StoreUnavailable as error:
        if not _refused(error):
            raise
        yield Finding(State.WARN, "Table Storage", "you may not write rows", _TABLES_ROLE)


def _refused(error: StoreUnavailable) -> bool:
    """Whether the store refused the caller, who is not signed in or lacks a role."""
    status = getattr(error.__cause__, "status_code", 0)
    return isinstance(error.__cause__, ClientAuthenticationError) or status in (401, 403)


async def _signing_key(session: Session) -> AsyncIterator[Finding]:
    rotate = "./gateway keys rotate"
    states = await key_states(session)
    signer = next((key for key in states if key["state"] == "signs"), None)
    if signer is None:
        yield Finding(State.FAIL, "signing key", "there is none: no token can be issued", "./gateway init")
        return
    now = datetime.now(UTC)
    versions = {version.version: version for version in await session.vault.versions(SECRET_NAME)}
    version = versions[str(signer["kid"])]
    age = now - version.active_from
    text = f"{version.version} signs, for {_days(age)} (since {version.active_from:%Y-%m-%d %H:%M} UTC)"
    if version.expires is not None and version.expires - now < EXPIRES_SOON:
        yield Finding(State.WARN, "signing key", f"{text}, and expires on {version.expires:%Y-%m-%d}", rotate)
    elif age > _OLD_KEY:
        yield Finding(State.WARN, "signing key", f"{text}: it is old", rotate)
    else:
        yield Finding(State.OK, "signing key", text)
    for key in states:
        if key["state"] == "published":
            starts = versions[str(key["kid"])].active_from
            yield Finding(State.OK, "signing key", f"{key['kid']} is young: it signs from {starts:%H:%M:%S} UTC on")
        if key["state"] == "not in use":
            fix = f"./gateway keys retire {key['kid']}"
            yield Finding(State.WARN, "signing key", f"{key['kid']} is not retired, and not in use", fix)


async def _tenants(session: Session) -> AsyncIterator[Finding]:
    rows = await session.tenants.rows()
    wrong = [found for row in rows if (found := _row_finding(session, row)) is not None]
    for (tenant, version), same in by_meaning(rows).items():
        if len(same) > 1:
            text = f"{tenant} has {len(same)} rows for {version.value}"
            wrong.append(Finding(State.FAIL, "Tenants", text, "remove all but one in Storage Explorer"))
    for finding in islice(_by_weight(wrong), _MAX_ROWS):
        yield finding
    if len(wrong) > _MAX_ROWS:
        more = f"{len(wrong) - _MAX_ROWS} more findings"
        yield Finding(State.WARN, "Tenants", more, "./gateway tenant list")
    if not wrong:
        yield Finding(State.OK, "Tenants", f"{len(rows)} rows, all of which can be used")


def _row_finding(session: Session, row: Mapping[str, object]) -> Finding | None:
    key = tuple(str(row[name]) for name in KEY_COLUMNS)
    tenant, version = parse_tenant_id(key[0]), parse_version(key[1])
    found = session.tenants.read(row)
    command = f"./gateway tenant set {tenant} {version.value}" if tenant and version else ""
    if isinstance(found, Provider):
        if command and key != (tenant, found.version.value):
            text = f"the keys ({key[0]}, {key[1]}) are found only by a scan"
            return Finding(State.WARN, "Tenants", text, f"{command} (writes them as they should be)")
        return None
    columns = [column for column, _ in found.problems]
    if command and set(columns) <= set(COLUMNS):
        options = " ".join(f"--{kebab_case(column)} ..." for column in columns)
        return Finding(State.FAIL, "Tenants", str(found), f"{command} {options}")
    return Finding(State.FAIL, "Tenants", str(found), "correct or remove it in Storage Explorer")


async def _pages(session: Session) -> AsyncIterator[Finding]:
    now = datetime.now(UTC)
    expiries = [row.get("Expires") async for row in session.table(PAGES).scan(["Expires"])]
    ages = [now - expires for expires in expiries if isinstance(expires, datetime)]
    expired = sum(age > timedelta(0) for age in ages)
    text = f"{len(expiries)} page handles, {expired} of them expired"
    if any(age > _SWEPT_AFTER for age in ages):
        fix = "./gateway upkeep deletes them; look why upkeep_fn, in the portal's app, does not every night"
        yield Finding(State.WARN, "Pages", f"{text}, some more than {_days(_SWEPT_AFTER)} ago", fix)
    else:
        yield Finding(State.OK, "Pages", text)


async def _secrets(session: Session) -> AsyncIterator[Finding]:
    # Key Vault does not tell capitals apart.
    held = {secret.name.lower(): secret async for secret in session.vault.secrets()}
    findings = [finding async for finding in _provider_secrets(session, held)]
    findings += [finding async for finding in _client_secrets(session, held)]
    for finding in _by_weight(findings):
        yield finding
    if not findings:
        yield Finding(State.OK, "secrets", f"all are there, and none expires within {_days(EXPIRES_SOON)}")


async def _provider_secrets(session: Session, held: Mapping[str, SecretVersion]) -> AsyncIterator[Finding]:
    users: defaultdict[str, list[Provider]] = defaultdict(list)
    async for _, found in session.tenants.list():
        if isinstance(found, Provider) and found.enabled:
            for name in found.auth.secrets:
                users[name].append(found)
    now = datetime.now(UTC)
    for name, providers in users.items():
        first = providers[0]
        row = f"{first.tenant} {first.version.value}"
        others = f" and of {len(providers) - 1} more" if len(providers) > 1 else ""
        label = f"secret {name} of the row {row}{others}"
        command = f"./gateway tenant set {row} --secret-value-from FILE"
        fix = command if name == (first.auth.secret or first.auth.certificate) else "store it in Key Vault by this name"
        secret = held.get(name.lower())
        if secret is None:
            yield Finding(State.FAIL, "secrets", f"{label} is not in the vault", await session.vault.held(name) or fix)
        elif not secret.usable(now):
            yield Finding(State.FAIL, "secrets", f"{label} is disabled or expired", fix)
        else:
            is_certificate = name == first.auth.certificate
            ends = secret.expires, await stored_certificate_end(session.vault, name) if is_certificate else None
            left = min((end - now for end in ends if end is not None), default=EXPIRES_SOON)
            if left <= timedelta(0):
                yield Finding(State.FAIL, "secrets", f"{label} has a certificate that has ended", fix)
            elif left < EXPIRES_SOON:
                yield Finding(State.WARN, "secrets", f"{label} expires in {_days(left)}", fix)


async def _client_secrets(session: Session, held: Mapping[str, SecretVersion]) -> AsyncIterator[Finding]:
    now = datetime.now(UTC)
    known: set[str] = set()
    async for client_id, client in session.clients.list():
        if isinstance(client, RowError):
            known |= {name for name in held if name.startswith(f"client-{client_id}-")}
            yield Finding(State.FAIL, "Clients", str(client), "correct or remove it in Storage Explorer")
            continue
        for secret in client.secrets:
            name = vault_name(client_id, secret.id)
            known.add(name)
            label = f"secret {secret.id} of client {client_id}"
            delete = f"./gateway client delete-secret {client_id} {secret.id}"
            stored = held.get(name)
            if stored is None or not stored.enabled:
                problem = "has no hash in the vault" if stored is None else "is disabled in the vault"
                yield Finding(State.WARN, "secrets", f"{label} {problem}: it does not work", delete)
                continue
            expires = secret.expires_with(stored)
            if expires is not None and now < expires < now + EXPIRES_SOON:
                fix = f"./gateway client add-secret {client_id}, move the app to it, {delete}"
                yield Finding(State.WARN, "secrets", f"{label} expires in {_days(expires - now)}", fix)
    for name in sorted(held.keys() - known):
        found = _HASH_NAME.fullmatch(name)
        if found is not None:
            fix = f"./gateway client delete-secret {found[1]} {found[2]}"
            yield Finding(State.WARN, "secrets", f"{name} in the vault belongs to no client: it opens nothing", fix)


def _by_weight(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Failures before warnings."""
    return iter(sorted(findings, key=lambda finding: finding.state is not State.FAIL))


def _days(time: timedelta) -> str:
    return counted(time.days, "day")
