"""The client that a request's path names, if the person may see it, and the notes of what they change of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from msgspec import structs

from shared.directory.access_requests import AccessRequests
from shared.directory.activity import ActivityLog
from shared.directory.client import CLIENT_ID, CLIENT_ROW, Client, ClientSecret
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import Refusal, RowError, UnknownClient
from shared.portal.errors import NotFound, UnusableRow
from shared.portal.request import PortalRequest
from shared.stores.tables import Table, etag_of


@dataclass(frozen=True, slots=True)
class ClientFinder:
    """Clients as the pages about one of them find it. `registry` and `requests` have all, whoever asks."""

    registry: ClientRegistry
    requests: AccessRequests
    _table: Table
    _activity: ActivityLog

    async def client(self, request: PortalRequest) -> Client:
        """The client that the path names. Raises NotFound, or UnusableRow for an admin."""
        try:
            client = await self.registry.get(request.parameters["client"])
        except UnknownClient:
            raise NotFound from None
        except RowError as error:
            if request.principal.is_admin:
                raise UnusableRow(str(error)) from error
            raise NotFound from None
        if not request.principal.may_see(client):
            raise NotFound
        return client

    async def etag(self, request: PortalRequest) -> str:
        """The ETag of the client's row, read before the client is: one too old is refused, one too new is not."""
        client_id = request.parameters["client"]
        row = await self._table.get(client_id, CLIENT_ROW) if CLIENT_ID.fullmatch(client_id) else None
        if row is None:
            raise NotFound
        return etag_of(row)

    async def secret(self, request: PortalRequest) -> tuple[Client, ClientSecret]:
        """The client and its secret that the path names. Raises as `client`."""
        client = await self.client(request)
        secret = next((secret for secret in client.secrets if secret.id == request.parameters["secret"]), None)
        if secret is None:
            raise NotFound
        return client, secret

    async def claimed(self, request: PortalRequest, client: Client) -> Client:
        """The client, which is this person's for good once its row knew the person by user name alone."""
        if client.owner_id or not request.principal.owns(client):
            return client
        if await self.registry.claim(client, request.principal.id):
            await self.changed(request, "claim", client.id)
        return structs.replace(client, owner_id=request.principal.id)

    async def changed(self, request: PortalRequest, action: str, client_id: str, detail: str = "") -> None:
        """Notes a change that the person made to a client."""
        actor = request.principal.user_name
        await self._activity.change(actor=actor, action=f"client.{action}", subject=client_id, detail=detail)


def sentence(refusal: Exception | str) -> str:
    """A refusal as it stands on a page."""
    text = str(refusal)
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


@contextmanager
def noted(problems: dict[str, str], field: str) -> Iterator[None]:
    """Puts what is refused within it among the `problems` of a form, at this field, and lets the rest be looked at."""
    try:
        yield
    except Refusal as error:
        problems[field] = sentence(error)
