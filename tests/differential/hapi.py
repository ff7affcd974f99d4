"""HAPI FHIR's own parsers, as the second reader: one process that reads one document after the other."""

import asyncio
import json
import struct
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from shared.fhir.versions import FhirFormat, FhirVersion
from tests.conformance import servers

_VERSIONS = tuple(FhirVersion)
_MAX_LINE = 16 * 1_048_576


@dataclass(frozen=True)
class Reader:
    """What HAPI finds in documents, as `reader/Reader.java` says it."""

    process: Process

    async def read(self, documents: Sequence[tuple[FhirVersion, FhirFormat, bytes]]) -> list[dict[str, Any]]:
        """What each of the documents is, or `unreadable` with the name of HAPI's error."""
        written = asyncio.create_task(self._write(documents))
        found = []
        for _ in documents:
            line = await self._output.readline()
            assert line, "the reader has ended"
            found.append(json.loads(line))
        await written
        return found

    async def _write(self, documents: Sequence[tuple[FhirVersion, FhirFormat, bytes]]) -> None:
        assert self.process.stdin is not None
        for version, format, content in documents:
            head = struct.pack(">BBi", _VERSIONS.index(version), format is FhirFormat.XML, len(content))
            self.process.stdin.write(head + content)
            await self.process.stdin.drain()

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self.process.stdout is not None
        return self.process.stdout


@asynccontextmanager
async def reader() -> AsyncIterator[Reader]:
    """A reader that runs until the block ends. Raises servers.Unavailable where HAPI can't run."""
    command = await servers.hapi("reader.Reader")
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_MAX_LINE)
    try:
        yield Reader(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
