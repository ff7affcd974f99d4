"""The services of the local stack and the product on them, started once for all tests of a process."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from tests.deployment import Deployment

# No example is judged by the clock; fixtures are shared by the examples of a test, which leave nothing behind.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("project")

_SLOW = {"differential", "faults", "fuzz", "shapes"}
_WITH_PROCESSES = {"admin", "attacks", "bench", "local"}
_SERVICES = {"stack", "table_service", "vault_server"}


if os.environ.get("EVENT_LOOP") == "uvloop":

    def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """All on the event loop that functions have in Azure from Python 3.13 on."""
        return {"uvloop": uvloop.new_event_loop}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a long value by its argument: keys are made anew in each process, and all must name the tests alike."""
    return argname if isinstance(val, str | bytes) and len(val) > 100 else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `make quick` and `make test` leave out, by a test's folder and the fixtures that it uses."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in _SLOW:
            item.add_marker("slow")
        if folder in _WITH_PROCESSES or _SERVICES & set(getattr(item, "fixturenames", ())):
            item.add_marker("services")


@pytest.fixture(scope="session")
async def table_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TableService]:
    """A running Azurite table service."""
    service = await TableService.start(tmp_path_factory.mktemp("tables"))
    yield service
    await service.stop()


@pytest.fixture(scope="session")
async def vault_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VaultServer]:
    """A running Key Vault stand-in. It runs on the tests' event loop, so only async tests can talk to it."""
    server = await VaultServer.start(tmp_path_factory.mktemp("vault"))
    yield server
    await server.stop()


@pytest.fixture(scope="session")
async def deployment(table_service: TableService, vault_server: VaultServer) -> AsyncIterator[Deployment]:
    """The product on the stores that all tests share."""
    async with Deployment.on(vault_server, table_service.connection_string) as deployment:
        yield deployment
