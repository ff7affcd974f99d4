"""Who is asking: client credentials against the directory, and a token's client against it again."""

from shared.directory.client import Client
from shared.directory.client_secret import matches, secret_id_of
from shared.directory.clients import Clients
from shared.oauth.errors import InvalidClient


async def authenticate(clients: Clients, client_id: str, client_secret: str) -> Client:
    """The client these credentials belong to.

    Raises InvalidClient, the same for an unknown or disabled client and a wrong, expired, disabled or deleted secret;
    StoreUnavailable when the directory does not answer.
    """
    found = await clients.secret(client_id, secret_id_of(client_secret))
    if found is None:
        raise InvalidClient
    client, stored = found
    if not matches(client_secret, stored.value, stored.tags):
        raise InvalidClient
    return client
