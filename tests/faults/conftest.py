"""One instance under the load of other tenants, and the page of what was found."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from local.azurite.table_service import TableService
from tests.deployment import Deployment
from tests.faults import hospitals, page
from tests.faults.bystanders import Bystanders, Scene, bystanders
from tests.faults.stack import running
from tests.host import App, Host

FULL = os.environ.get("FAULTS") == "full"


@pytest.fixture(scope="session")
async def healthy_origin() -> AsyncIterator[str]:
    async with hospitals.well() as origin:
        yield origin


@pytest.fixture(scope="session")
async def stack(table_service: TableService, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    folder = tmp_path_factory.mktemp("faults")
    async with running(folder, table_service, CACHE_SECONDS="1", MAX_RESPONSE_MB="4") as (stack, _, _):
        yield stack


@pytest.fixture(scope="session")
async def host(stack: Deployment) -> AsyncIterator[Host]:
    """The instance that every fault of a provider is tried on; it may log no error that nobody foresaw."""
    host = await stack.host(module="tests.faults.named_host")
    yield host
    assert host.unexpected() == []


@pytest.fixture(scope="session")
async def own_app(stack: Deployment, host: Host) -> AsyncIterator[App]:
    async with stack.app(host) as own:
        yield own


@pytest.fixture(scope="module")
async def others(stack: Deployment, host: Host, healthy_origin: str) -> AsyncIterator[Bystanders]:
    """Tenants that are served while faults happen to others."""
    async with stack.app(host) as theirs, bystanders(stack, theirs, healthy_origin, 20 if FULL else 6) as others:
        yield others


@pytest.fixture
def scene(stack: Deployment, own_app: App, others: Bystanders) -> Scene:
    return Scene(stack, own_app, others)


@pytest.fixture(scope="session", autouse=True)
def written_page() -> Iterator[None]:
    """After a full run, `docs/reliability.md` has what was found."""
    yield
    if os.environ.get("WRITE_DOCS"):
        page.write()
