"""The page `docs/conformance.md`, as a run of the suite writes it."""

import importlib.metadata
import json
from collections.abc import Mapping, MutableMapping

from tests.clients import installation
from tests.conformance.servers import SERVERS, releases

Cells = MutableMapping[tuple[str, str], str]
"""What was found of an interaction (by its name) with a server (by its key)."""

NO_FHIR = "no FHIR: 502"
_PYTHON_CLIENTS = ("fhirpy", "fhirclient", "authlib", "requests-oauthlib")
_NPM_CLIENTS = ("fhir-kit-client", "oauth4webapi")

_INTRODUCTION = """\
# Conformance

Servers and clients that others wrote, on both sides of the gateway. `tests/conformance` asks each server the same
things twice, directly and through the gateway, and compares the answers; this page is what it found. To write it anew:
`WRITE_DOCS=1 python -m pytest tests/conformance`.

Compared are the status, the body byte for byte, `ETag`, `Last-Modified`, `Location`, `Content-Location` and the media
type. Two things must differ and are made equal first:

- **Addresses.** The server's base and the gateway's base count as one, also percent-encoded inside a query. A link to
  a further page counts as "a page" where it leads to no type below the base (HAPI's `_getpages`): the gateway hands
  out a handle for it. A link that the server wrote relative (fhirstarter) arrives absolute.
- **What a server makes anew for each answer.** HAPI's `Bundle.id`, and its time in `Bundle.meta` and in the headers;
  the ids, versions and times of what a test has written.

A batch that the gateway takes apart is compared entry by entry with the same requests made alone, as JSON whose numbers
keep their digits.

"""

_LEGEND = f"""
- **equal**: the server does it, and the answer through the gateway is the server's. That is no statement about what the
  server makes of each parameter: some ignore what they don't know.
- **not done**: the server does not do it, and this is the status of its answer, which is equal as well. Where that
  answer is no FHIR at all (fhirstarter's 404 for paths it lacks), the gateway's is 502 with an OperationOutcome.
- **{NO_FHIR}**: the server answers with something else than FHIR (HAPI: the narrative as HTML, or `null`), which the
  gateway does not pass on.

The statement is left out: it is the gateway's own. HAPI's plain server has no batch, and its search parameters are the
suite's: parsing, Bundles, pages, formats, summaries and conditions are HAPI's. Medplum's router runs on its in-memory
repository, with the links that Medplum's own server adds.
"""


def not_done(status: int) -> str:
    """The cell of an interaction that the server does not do."""
    return f"not done ({status})"


def markdown(rows: Mapping[str, str], cells: Cells) -> str:
    """The table: an interaction in each row, by its name and title, and a server in each column."""
    titles = [f"{server.title} {server.version.name}" for server in SERVERS]
    lines = [["Interaction", *titles], ["---"] * (len(titles) + 1)]
    lines += [[title, *(cells[name, server.key] for server in SERVERS)] for name, title in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(table: str) -> str:
    """The whole page."""
    packages = json.loads((installation.CLIENTS / "package-lock.json").read_text())["packages"]
    python = {
        name: importlib.metadata.version(name) for name in ("fhirpy", "fhirclient", "authlib", "requests-oauthlib")
    }
    npm = {name: packages[f"node_modules/{name}"]["version"] for name in ("fhir-kit-client", "oauth4webapi")}
    servers = "".join(f"- {title} {release}\n" for title, release in releases().items())
    clients = "".join(f"- {name} {version}\n" for name, version in (python | npm).items())
    return f"{_INTRODUCTION}{table}{_LEGEND}\n## Servers\n\n{servers}\n## Clients\n\n{_CLIENTS}\n{clients}"


_CLIENTS = """\
Each pages through all of a search's 120 entries, reads a patient, and meets a missing one as its own kind of error:
fhirpy with a token by authlib, fhirclient (R4) with one by requests-oauthlib, fhir-kit-client with one by oauth4webapi.
The last two find the token URL by themselves, in the statement and in the SMART configuration; fhir-kit-client posts a
batch as well.
"""
