"""Clients that others wrote find through the gateway what they find at a server itself. Run by `make clients`."""

import pytest

from tests.conformance import clients, table
from tests.conformance.clients import PAIRS, Client
from tests.conformance.conftest import Gateway
from tests.conformance.servers import Running, Server
from tests.conformance.table import Cells


@pytest.mark.parametrize(("client", "server"), PAIRS)
async def test_a_client_finds_the_same(
    client: Client, server: Server, running_servers: Running, gateway: Gateway, cells: Cells
) -> None:
    found = await clients.compare(client, server, running_servers, gateway)
    cells.update({(client.key, f"{server.key} {step}"): cell for step, cell in found.items()})


def test_the_published_table_is_what_the_run_found(cells: Cells) -> None:
    rows = [pair.values for pair in PAIRS]
    keys = {(client.key, f"{server.key} {step}") for client, server in rows for step in clients.STEPS}
    if not keys <= cells.keys():
        pytest.skip("not every client ran")
    lines = [["Client", "Server", *clients.STEPS.values()]]
    for client, server in rows:
        columns = (cells[client.key, f"{server.key} {step}"] for step in clients.STEPS)
        lines.append([f"{client.title} {client.release}", f"{server.title} {server.version.name}", *columns])
    reasons = [[str(number), reason] for number, reason in enumerate(clients.DIFFERENCES, 1)]
    table.publish(lines)
    table.publish([["Difference", "Reason"], *reasons])
    assert all(any(f"differs ({number})" in cells[key] for key in keys) for number, _ in reasons), "an unneeded reason"
