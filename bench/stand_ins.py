"""The servers of the benchmark that make up what they respond with.

- A FHIR server that takes its time: at /500/fhir every response takes 500 ms.
- A directory of any number of tenants: as much of Table Storage's protocol as the gateway uses to read it. Azurite
  looks through all rows for each query, so 100,000 of them would measure Azurite. Here a tenant's row is made on
  request: tenant number N is served by the provider at /t/N/fhir.

`python -m bench.stand_ins --port 8080 --provider 8081 --client ID --secret ID`
"""

import argparse
import asyncio
import re
from datetime import UTC, datetime

from aiohttp import web

from bench import recorded

ACCOUNT = "bench"
_KEY = re.compile(r"PartitionKey eq '([^']+)'")
_TENANT = re.compile(r"00000000-0000-4000-8000-([0-9a-f]{12})")


def tenant_id(number: int) -> str:
    """The GUID of a tenant."""
    return f"00000000-0000-4000-8000-{number:012x}"


def connection_string(port: int) -> str:
    """The connection string of the tables; nobody checks the key."""
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey=YmVuY2g=;TableEndpoint={endpoint};"


def create_app(provider_port: int, client_id: str, secret_id: str) -> web.Application:
    """A Patient of 2 KB for every GET below /{milliseconds}/fhir, and the tables `Tenants` and `Clients`.

    What is written there is thrown away.
    """
    patient = recorded.patient("http://127.0.0.1/fhir")
    client: list[dict[str, object]] = [
        {"PartitionKey": client_id, "RowKey": "client", "Name": "Benchmark", "Tenants": "*", "Enabled": True},
        {"PartitionKey": client_id, "RowKey": f"secret-{secret_id}", "Created": datetime.now(UTC).isoformat()},
    ]

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(int(request.match_info["milliseconds"]) / 1000)
        return web.Response(body=patient, content_type="application/fhir+json")

    async def clients(request: web.Request) -> web.Response:
        return _rows(client if _key(request) == client_id else [])

    async def tenants(request: web.Request) -> web.Response:
        found = _TENANT.fullmatch(_key(request))
        if found is None:
            return _rows([])
        base_url = f"http://127.0.0.1:{provider_port}/t/{int(found[1], 16)}/fhir"
        return _rows([{"PartitionKey": found[0], "RowKey": "stu3", "BaseUrl": base_url, "MaxConcurrent": "1000"}])

    async def written(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get(r"/{milliseconds:\d+}/fhir/{path:.*}", slow)
    app.router.add_get(f"/{ACCOUNT}/Clients()", clients)
    app.router.add_get(f"/{ACCOUNT}/Tenants()", tenants)
    app.router.add_route("*", "/{path:.*}", written)
    return app


def _key(request: web.Request) -> str:
    found = _KEY.search(request.query.get("$filter", ""))
    return found[1] if found else ""


def _rows(rows: list[dict[str, object]]) -> web.Response:
    return web.json_response({"value": [{**row, "odata.etag": 'W/"1"'} for row in rows]})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stand_ins")
    parser.add_argument("--port", type=int, required=True)
    for name, kind in (("provider", int), ("client", str), ("secret", str)):
        parser.add_argument(f"--{name}", type=kind)
    options = parser.parse_args()
    app = create_app(options.provider, options.client, options.secret)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, backlog=4096)


if __name__ == "__main__":
    main()
