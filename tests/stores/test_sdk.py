from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.data.tables.aio import TableServiceClient

from shared.stores.errors import StoreConflict, StoreUnavailable
from shared.stores.sdk import translated
from shared.stores.tables import Table


class SignedOut:
    """A credential as azure.identity's are when nobody is signed in."""

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token from ...")

    async def close(self) -> None: ...

    async def __aenter__(self) -> "SignedOut":
        return self

    async def __aexit__(self, *error: object) -> None: ...


@pytest.fixture
async def forbidding() -> AsyncIterator[str]:
    """A table service that refuses whoever asks."""

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"odata.error": {"code": "AuthorizationFailure"}}, status=403)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_sign_in_that_failed_is_told_from_a_refusal(forbidding: str) -> None:
    refusing = TableServiceClient.from_connection_string(f"AccountName=a;AccountKey=eA==;TableEndpoint={forbidding}/a")
    for client, told in (
        (TableServiceClient("https://127.0.0.1:1", credential=SignedOut()), ": nobody is signed in, or not allowed"),
        (refusing, " answered 403"),
    ):
        async with client as service:
            with pytest.raises(StoreUnavailable) as raised:
                await Table(service, "Tenants").get("p", "r")
        assert str(raised.value) == f"Table Storage (Tenants){told}"


@pytest.mark.parametrize("status", [409, 412])
def test_a_precondition_that_failed_is_a_conflict_whatever_its_class(status: int) -> None:
    error = HttpResponseError("...")
    error.status_code = status
    with pytest.raises(StoreConflict), translated("Store"):
        raise error
