"""Clients that others wrote find through the gateway what they find at a server itself, over real HTTP."""

import aiohttp
import pytest

from tests.conformance import clients
from tests.conformance.clients import Client
from tests.conformance.conftest import Gateway
from tests.conformance.servers import Running, Server


@pytest.mark.parametrize(("client", "server"), clients.pairs(slow=False))
async def test_a_client_finds_the_same(
    client: Client, server: Server, running_servers: Running, gateway: Gateway, session: aiohttp.ClientSession
) -> None:
    await clients.compare(client, server, running_servers, gateway, session)
