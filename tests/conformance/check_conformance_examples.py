"""HL7's examples of every type of the interface come through the gateway as HAPI FHIR has them: `make conformance`."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.provider import BatchMode
from shared.fhir.interface import types
from shared.fhir.versions import FhirFormat, FhirVersion
from tests.clients.installation import Unavailable
from tests.conformance import servers, table
from tests.conformance.conftest import Gateway, served, two_sides
from tests.conformance.examples import examples
from tests.conformance.servers import SERVERS, Server

HAPI = [server for server in SERVERS if server.title == "HAPI FHIR"]
_PAGE = 10
Loaded = dict[FhirVersion, Counter[str]]


@pytest.fixture(scope="module")
async def loaded() -> AsyncIterator[tuple[dict[str, str], Loaded, dict[FhirVersion, list[str]]]]:
    """Servers with nothing but the examples: their bases by key, and the paths of what is there."""
    async with AsyncExitStack() as processes:
        try:
            bases = await servers.start_hapi(processes)
            resources = {server.version: list(examples(server.version)) for server in HAPI}
        except Unavailable as reason:
            pytest.skip(str(reason))
        for server, base in zip(HAPI, bases, strict=True):
            await servers.load(base, server.version, resources[server.version])
        paths = {
            version: [f"{resource['resourceType']}/{resource['id']}" for resource in found]
            for version, found in resources.items()
        }
        counts = {version: Counter(path.partition("/")[0] for path in found) for version, found in paths.items()}
        yield dict(zip((server.key for server in HAPI), bases, strict=True)), counts, paths


@pytest.fixture(scope="module")
async def examples_gateway(
    loaded: tuple[dict[str, str], Loaded, dict[FhirVersion, list[str]]],
    table_service: TableService,
    vault_server: VaultServer,
) -> AsyncIterator[Gateway]:
    async with served(loaded[0], table_service, vault_server) as gateway:
        yield gateway


@pytest.mark.parametrize("format", FhirFormat, ids=lambda format: format.value)
@pytest.mark.parametrize("server", HAPI, ids=lambda server: server.key)
async def test_the_examples_are_equal(
    server: Server,
    format: FhirFormat,
    loaded: tuple[dict[str, str], Loaded, dict[FhirVersion, list[str]]],
    examples_gateway: Gateway,
    session: aiohttp.ClientSession,
) -> None:
    bases, counts, paths = loaded
    direct, through = await two_sides(server, BatchMode.NATIVE, bases[server.key], examples_gateway, session)
    accept = server.version.media_type(format)
    assert counts[server.version].keys() == types(server.version)
    for path in paths[server.version]:
        own, given = await direct.get(path, Accept=accept), await through.get(path, Accept=accept)
        assert own.status == 200
        assert through.neutral(given) == direct.neutral(own), path
    for type, count in counts[server.version].items():
        seen = 0
        own, given = [await side.get(f"{type}?_count={_PAGE}", Accept=accept) for side in (direct, through)]
        while True:
            assert through.neutral(given) == direct.neutral(own), type
            seen += own.body.count(b"<fullUrl" if format is FhirFormat.XML else b'"fullUrl"')
            following = own.link("next"), given.link("next")
            if following == (None, None):
                break
            own, given = [
                await side.get(str(next), Accept=accept)
                for side, next in zip((direct, through), following, strict=True)
            ]
        assert seen == count


def test_the_published_numbers_are_what_was_compared(
    loaded: tuple[dict[str, str], Loaded, dict[FhirVersion, list[str]]],
) -> None:
    counts = loaded[1]
    names = sorted({type for found in counts.values() for type in found})
    lines = [["Examples", *(version.name for version in counts)]]
    lines += [[name, *(str(found[name] or "–") for found in counts.values())] for name in names]
    table.publish([*lines, ["all", *(str(found.total()) for found in counts.values())]])
