"""What the gateway and the token endpoint count of requests: each error with its kind, for whom it concerns."""

import asyncio
import dataclasses
import json
import zlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from aiohttp import web

from shared.directory.client import new_client_secret, vault_name
from shared.directory.traffic import client_subject, hospital_subject
from shared.directory.traffic_history import SubjectDay, TrafficHistory
from shared.error_kind import ErrorKind, Side
from shared.stores.tables import CLIENTS, TRAFFIC
from tests.deployment import Deployment
from tests.gateway.conftest import Hospital, batch

OUTCOME = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}


async def day_of(deployment: Deployment, subject: str) -> SubjectDay:
    await deployment.application.traffic.flush()
    return (await TrafficHistory(deployment.table(TRAFFIC)).digest()).subjects[subject]


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


# The hospital's response, columns of its row, what is asked for, and the kind of error.
FAILURES: dict[str, tuple[Answer | tuple[object, int], dict[str, object], str, ErrorKind | None]] = {
    "served": (({"resourceType": "Patient"}, 200), {}, "Patient/1", None),
    "no such record": ((OUTCOME, 404), {}, "Patient/1", ErrorKind.NOT_FOUND),
    "no such record, no outcome": (("gone", 410), {}, "Patient/1", ErrorKind.NOT_FOUND),
    "rejected": ((OUTCOME, 422), {}, "Patient/1", ErrorKind.REJECTED),
    "rejected, no outcome": (("no", 400), {}, "Patient/1", ErrorKind.REJECTED),
    "credential refused": (("", 401), {}, "Patient/1", ErrorKind.CREDENTIAL_REFUSED),
    "forbidden": ((OUTCOME, 403), {}, "Patient/1", ErrorKind.FORBIDDEN),
    "forbidden, no outcome": (("no", 403), {}, "Patient/1", ErrorKind.FORBIDDEN),
    "server error": ((OUTCOME, 500), {}, "Patient/1", ErrorKind.SERVER_ERROR),
    "server error, no outcome": (("<html>", 503), {}, "Patient/1", ErrorKind.SERVER_ERROR),
    "overloaded": ((OUTCOME, 429), {}, "Patient/1", ErrorKind.OVERLOADED),
    "redirect": (("", 302), {}, "Patient/1", ErrorKind.REDIRECTED),
    "not FHIR": (("<html>", 200), {}, "Patient/1", ErrorKind.NOT_FHIR),
    "cut off": (('{"resourceType":', 200), {}, "Patient/1", ErrorKind.NOT_FHIR),
    "hangs up": (hang_up, {}, "Patient/1", ErrorKind.UNREACHABLE),
    "hangs": (hang, {"TimeoutSeconds": "1"}, "Patient/1", ErrorKind.TIMED_OUT),
    "no credential": (
        (OUTCOME, 200),
        {"Auth": "basic", "AuthSecret": "there-is-none"},
        "Patient/1",
        ErrorKind.NO_CREDENTIAL,
    ),
    "unusable row": ((OUTCOME, 200), {"Auth": "nonsense"}, "Patient/1", ErrorKind.ROW_UNUSABLE),
    "not let through": ((OUTCOME, 200), {}, "Claim/1", ErrorKind.NOT_LET_THROUGH),
    "no such type": ((OUTCOME, 200), {}, "Nonsense/1", ErrorKind.NOT_FOUND),
    "no such page": ((OUTCOME, 200), {}, "Patient?_page=abc", ErrorKind.NOT_FOUND),
    "malformed": ((OUTCOME, 200), {}, "Patient/../1", ErrorKind.MALFORMED),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_each_error_has_its_kind_and_side(deployment: Deployment, hospital: Hospital, case: str) -> None:
    answer, columns, target, kind = FAILURES[case]
    if isinstance(answer, tuple):
        hospital.answers(*answer)
    else:
        hospital.answer = answer
    await hospital.row(**columns)
    await hospital.send("GET", f"/stu3/{target}")
    day = await day_of(deployment, hospital_subject(hospital.tenant, "stu3"))
    assert day.figures.requests == 1
    assert day.figures.failures == ({kind: 1} if kind else {})
    side = kind.side if kind else None
    assert (day.failing_since is not None) == (side is Side.HOSPITAL)
    assert (day.last_success is not None) == (hospital.requests != [] and side is not Side.HOSPITAL)


async def test_after_failures_in_a_row_a_hospital_is_not_asked_which_leaves_the_reason(
    deployment: Deployment, hospital: Hospital
) -> None:
    hospital.answers("<html>", 500)
    hospital.answer = hang_up
    for _ in range(6):
        await hospital.send("GET", "/stu3/Patient/1")
    day = await day_of(deployment, hospital_subject(hospital.tenant, "stu3"))
    assert day.figures.failures == {ErrorKind.UNREACHABLE: 5, ErrorKind.NOT_ASKED: 1}
    assert day.kind is ErrorKind.UNREACHABLE


async def test_a_batch_taken_apart_is_one_request_with_the_gravest_of_the_hospitals_failures(
    deployment: Deployment, hospital: Hospital
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        body, status = {
            "1": ({"resourceType": "Patient", "id": "1"}, 200),
            "2": (OUTCOME, 500),
            "3": (OUTCOME, 403),
            "4": (OUTCOME, 404),
        }[request.path[-1]]
        return web.json_response(body, status=status, content_type="application/fhir+json")

    hospital.answer = answer
    for entries, kind, failing in (
        (("Patient/1", "Patient/4", "Claim/1"), None, False),
        (("Patient/1", "Patient/2", "Patient/3"), ErrorKind.FORBIDDEN, False),
        (("Patient/4", "Patient/2"), ErrorKind.SERVER_ERROR, False),
        (("Patient/2", "Claim/1"), ErrorKind.SERVER_ERROR, True),
    ):
        await hospital.row(Batch="split")
        assert (await hospital.send("POST", "/stu3", batch(*entries))).status == 200
        day = await day_of(deployment, hospital_subject(hospital.tenant, "stu3"))
        assert (day.figures.requests, day.figures.failures) == (1, {kind: 1} if kind else {})
        assert (day.failing_since is not None) == failing


async def test_refused_clients_are_told_apart_inside_and_by_nothing_outside(deployment: Deployment) -> None:
    tenant, other = await deployment.tenant(), await deployment.tenant()
    client, disabled = await deployment.client(tenant), await deployment.client(Enabled=False)
    past = datetime.now(UTC) - timedelta(days=1)
    expired = await deployment.add_secret(client.client_id, expires=past)
    gone = dataclasses.replace(client, client_secret=await deployment.add_secret(client.client_id))
    await deployment.vault.delete(vault_name(client.client_id, gone.secret_id))
    refused = [
        (client, f"{client.secret_id}.{'A' * 43}", ErrorKind.SECRET_WRONG),
        (client, client.client_secret[-8:], ErrorKind.SECRET_WRONG),
        (client, new_client_secret(), ErrorKind.SECRET_DELETED),
        (client, expired, ErrorKind.SECRET_EXPIRED),
        (client, gone.client_secret, ErrorKind.SECRET_DISABLED),
        (disabled, disabled.client_secret, ErrorKind.CLIENT_DISABLED),
    ]
    unknown = dataclasses.replace(client, client_id="nobody-has-this-id")
    told = {(await deployment.request_token(unknown, tenant)).body}
    for sender, secret, kind in refused:
        response = await deployment.request_token(dataclasses.replace(sender, client_secret=secret), tenant)
        told.add(response.body)
        day = await day_of(deployment, client_subject(sender.client_id))
        assert (response.status, day.kind) == (401, kind)
        assert day.failing_since is not None
    assert len(told) == 1
    for scope, kind in ((other, ErrorKind.TENANT_REFUSED), ("nonsense", ErrorKind.TOKEN_REQUEST_MALFORMED)):
        assert (await deployment.request_token(client, scope)).status == 400
        assert (await day_of(deployment, client_subject(client.client_id))).kind is kind
    assert (await deployment.request_token(client, tenant)).status == 200
    day = await day_of(deployment, client_subject(client.client_id))
    assert (day.figures.token_requests, day.figures.failed(Side.CLIENT), day.failing_since) == (8, 7, None)


async def test_refused_tokens_are_told_apart_for_the_client_they_were_issued_to(
    deployment: Deployment, hospital: Hospital
) -> None:
    tenant, client = await deployment.tenant(hospital.base_url), await deployment.client()
    token = await deployment.token(tenant, client=client)
    claims = jwt.decode(token, options={"verify_signature": False})
    header = {name: jwt.get_unverified_header(token)[name] for name in ("kid", "typ")}
    key = (await deployment.application.signing_keys.ring()).signer(datetime.now(UTC)).private_key
    expired = jwt.encode({**claims, "exp": claims["iat"] - 60}, key, "ES256", header)
    elsewhere = jwt.encode({**claims, "exp": claims["iat"] - 60, "aud": "https://other"}, key, "ES256", header)
    for sent in (expired, elsewhere, token[:-8] + "A" * 8):
        assert (await deployment.send("GET", "/stu3/Patient/1", sent)).status == 401
    assert (await deployment.send("GET", "/r4/Patient/1", token)).status == 404
    row = await deployment.table(CLIENTS).get(client.client_id, "client")
    assert row is not None
    await deployment.table(CLIENTS).put({**row, "Tenants": await deployment.tenant()})
    deployment.application.clients._clients.expire(client.client_id)
    assert (await deployment.send("GET", "/stu3/Patient/1", token)).status == 401
    day = await day_of(deployment, client_subject(client.client_id))
    kinds = ErrorKind.TOKEN_EXPIRED, ErrorKind.NO_HOSPITAL, ErrorKind.TOKEN_REVOKED
    assert day.figures.failures == dict.fromkeys(kinds, 1)
    assert hospital.requests == []


def subjects(rows: list[Any]) -> Iterator[str]:
    for row in rows:
        yield str(row["PartitionKey"])
        if isinstance(digest := row.get("Digest0"), bytes):
            yield from json.loads(zlib.decompress(digest))


async def test_strangers_make_no_subjects(deployment: Deployment) -> None:
    await deployment.application.traffic.flush()
    before = {subject async for row in deployment.table(TRAFFIC).scan() for subject in subjects([row])}
    client = await deployment.client()
    token = await deployment.token(await deployment.tenant(), client=client)
    for made_up in range(3):
        await deployment.oauth(f"grant_type=client_credentials&client_id=made-up-{made_up}&client_secret=x.y")
        await deployment.request_token(client, f"72f988bf-86f1-41af-91ab-2d7cd011db4{made_up}")
        await deployment.send("GET", "/stu3/Patient/1", f"{token[:-8]}{made_up}AAAAAAA")
        await deployment.send("GET", "/dstu2/Patient/1", token)
        await deployment.send("GET", "/stu3/Patient/1")
        await deployment.send("GET", f"/made-up-{made_up}/Patient/1", token)
    await deployment.application.traffic.flush()
    after = {subject async for row in deployment.table(TRAFFIC).scan() for subject in subjects([row])}
    assert after - before == {client_subject(client.client_id)}
