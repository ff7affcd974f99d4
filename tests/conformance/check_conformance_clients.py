"""All clients, those too that take minutes to build, and the table of them: `make conformance`."""

import aiohttp
import pytest

from tests.conformance import clients, table
from tests.conformance.clients import Client
from tests.conformance.conftest import Gateway
from tests.conformance.servers import Running, Server
from tests.conformance.table import Cells

PAIRS = clients.pairs(slow=True)


@pytest.mark.parametrize(("client", "server"), PAIRS)
async def test_a_client_finds_the_same(
    client: Client,
    server: Server,
    running_servers: Running,
    gateway: Gateway,
    session: aiohttp.ClientSession,
    cells: Cells,
) -> None:
    found = await clients.compare(client, server, running_servers, gateway, session)
    cells.update({(client.key, f"{server.key} {step}"): cell for step, cell in found.items()})


def test_the_published_table_is_what_the_run_found(cells: Cells) -> None:
    rows = [pair.values for pair in PAIRS]
    if len(cells) < len(rows) * len(clients.STEPS):
        pytest.skip("not every client ran")
    lines = [["Client", "Server", *clients.STEPS.values()]]
    for client, server in rows:
        columns = (cells[client.key, f"{server.key} {step}"] for step in clients.STEPS)
        lines.append([f"{client.title} {client.release}", f"{server.title} {server.version.name}", *columns])
    reasons = [[str(number), reason] for number, reason in enumerate(clients.DIFFERENCES, 1)]
    table.publish(lines)
    table.publish([["Difference", "Reason"], *reasons])
    unneeded = [line for line in reasons if not any(f"differs ({line[0]})" in cell for cell in cells.values())]
    assert not unneeded
