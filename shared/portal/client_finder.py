"""The client that a request's path names, if the person may see it, and the notes of what they change of it."""

from dataclasses import dataclass, replace

from shared.directory.access_requests import AccessRequests
from shared.directory.activity import ActivityLog
from shared.directory.client import Client, ClientSecret
from shared.directory.client_registry import ClientRegistry
from shared.directory.errors import Refusal, RowError, UnknownClient
from shared.portal.errors import NotFound, UnusableRow
from shared.portal.request import PortalRequest


@dataclass(frozen=True, slots=True)
class ClientFinder:
    """Clients as the pages about one of them find it. `registry` and `requests` have all, whoever asks."""

    registry: ClientRegistry
    requests: AccessRequests
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
        return replace(client, owner_id=request.principal.id)

    async def changed(self, request: PortalRequest, action: str, client_id: str, detail: str = "") -> None:
        """Notes a change that the person made to a client."""
        actor = request.principal.user_name
        await self._activity.change(actor=actor, action=f"client.{action}", subject=client_id, detail=detail)


def sentence(refusal: Refusal) -> str:
    """A refusal as it stands on a page."""
    text = str(refusal)
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
