"""HL7's examples of each type of the interface come through as HAPI FHIR has them. Run by `make clients`."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from local.azurite.table_service import TableService
from local.vault.server import VaultServer
from shared.directory.provider import BatchMode
from shared.fhir.interface import types
from shared.fhir.versions import FhirFormat, FhirVersion
from tests.clients.installation import Unavailable
from tests.conformance import servers, table
from tests.conformance.conftest import Gateway, served
from tests.conformance.examples import examples
from tests.conformance.servers import HAPI, Server

_PAGE = 10


@dataclass(frozen=True)
class Loaded:
    """Servers with nothing but the examples: their bases by key, what is there by version, and a gateway to them."""

    bases: dict[str, str]
    paths: dict[FhirVersion, list[str]]
    gateway: Gateway

    def counts(self, version: FhirVersion) -> Counter[str]:
        return Counter(path.partition("/")[0] for path in self.paths[version])


@pytest.fixture(scope="module")
async def loaded(table_service: TableService, vault_server: VaultServer) -> AsyncIterator[Loaded]:
    async with AsyncExitStack() as processes:
        try:
            started = await servers.start_hapi(processes)
            resources = {server.version: list(examples(server.version)) for server in HAPI}
        except Unavailable as reason:
            pytest.skip(str(reason))
        bases = dict(zip((server.key for server in HAPI), started, strict=True))
        for server in HAPI:
            await servers.load(bases[server.key], server.version, resources[server.version])
        paths = {
            version: [f"{resource['resourceType']}/{resource['id']}" for resource in found]
            for version, found in resources.items()
        }
        yield Loaded(bases, paths, await processes.enter_async_context(served(bases, table_service, vault_server)))


@pytest.mark.parametrize("format", FhirFormat, ids=lambda format: format.value)
@pytest.mark.parametrize("server", HAPI, ids=lambda server: server.key)
async def test_the_examples_are_equal(server: Server, format: FhirFormat, loaded: Loaded) -> None:
    direct, through = await loaded.gateway.sides(server, BatchMode.NATIVE, loaded.bases[server.key])
    counts, accept = loaded.counts(server.version), server.version.media_type(format)
    assert counts.keys() == types(server.version)
    for path in loaded.paths[server.version]:
        own, given = await direct.get(path, Accept=accept), await through.get(path, Accept=accept)
        assert own.status == 200
        assert through.neutral(given) == direct.neutral(own), path
    for type, count in counts.items():
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


def test_the_published_numbers_are_what_was_compared(loaded: Loaded) -> None:
    versions = [server.version for server in HAPI]
    counts = [loaded.counts(version) for version in versions]
    lines = [["Examples", *(version.name for version in versions)]]
    lines += [[name, *(str(found[name] or "–") for found in counts)] for name in sorted(set().union(*counts))]
    table.publish([*lines, ["all", *(str(found.total()) for found in counts)]])
