"""The servers of the benchmark that make up what they respond with.

- A FHIR server that takes its time: at /500/fhir every response takes 500 ms.
- A directory of any number of tenants: as much of Table Storage's protocol as the gateway uses. Azurite looks through
  all rows for each query, so 100,000 of them would measure Azurite. Here a row is made on request: tenant number N is
  served by the provider at /t/N/fhir, but number 0 (NATIVE), and number 1 (SPLIT), whose batches are taken apart, at
  /fhir; any page handle leads to the page that was written last. Nothing else that is written is kept.

`python -m bench.stand_ins --port 8080 --provider 8081 --clients '[{"PartitionKey": "one", "RowKey": "client"}]'`
"""

import argparse
import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from bench import recorded

ACCOUNT = "bench"
_KEY = re.compile(r"PartitionKey eq '([^']+)'")
_KEYS = re.compile(r"PartitionKey='([^']+)',RowKey='([^']+)'")
_TENANT = re.compile(r"00000000-0000-4000-8000-([0-9a-f]{12})")
NATIVE, SPLIT = 0, 1

_Row = dict[str, Any]


def tenant_id(number: int) -> str:
    """The GUID of a tenant."""
    return f"00000000-0000-4000-8000-{number:012x}"


def connection_string(port: int) -> str:
    """The connection string of the tables; nobody checks the key."""
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey=YmVuY2g=;TableEndpoint={endpoint};"


def create_app(provider_port: int, clients: Iterable[_Row]) -> web.Application:
    """A Patient of 2 KB for every GET below /{milliseconds}/fhir, and the tables, with these rows in `Clients`."""
    patient = recorded.patient("http://127.0.0.1/fhir")
    tables: dict[str, list[_Row]] = {"Clients": list(clients), "Pages": []}

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(int(request.match_info["milliseconds"]) / 1000)
        return web.Response(body=patient, content_type="application/fhir+json")

    async def query(request: web.Request) -> web.Response:
        keys, table = _KEY.findall(request.query.get("$filter", "")), request.match_info["table"]
        if table == "Tenants":
            rows = [row for key in keys for row in _tenant(provider_port, key)]
        else:
            rows = [row for row in tables.get(table, ()) if row["PartitionKey"] in keys]
        return web.json_response({"value": [{**row, "odata.etag": 'W/"1"'} for row in rows]})

    async def page(request: web.Request) -> web.Response:
        partition, row = _KEYS.findall(request.match_info["key"])[0]
        found = {**tables["Pages"][-1], "PartitionKey": partition, "RowKey": row, "odata.etag": 'W/"1"'}
        return web.json_response(found)

    async def written(request: web.Request) -> web.Response:
        if request.path == f"/{ACCOUNT}/Pages":
            tables["Pages"] = [await request.json()]
        return web.Response(status=204)

    async def transaction(request: web.Request) -> web.Response:
        inserted = (await request.read()).count(b"\r\nPOST ")
        part = b"--batch\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n"
        headers = {"Content-Type": "multipart/mixed; boundary=batch"}
        return web.Response(status=202, headers=headers, body=part * inserted + b"--batch--\r\n")

    app = web.Application()
    app.router.add_post(f"/{ACCOUNT}/$batch", transaction)
    app.router.add_get(r"/{milliseconds:\d+}/fhir/{path:.*}", slow)
    app.router.add_get(f"/{ACCOUNT}/{{table}}()", query)
    app.router.add_get(f"/{ACCOUNT}/Pages({{key}})", page)
    app.router.add_route("*", "/{path:.*}", written)
    return app


def _tenant(provider_port: int, key: str) -> list[_Row]:
    found = _TENANT.fullmatch(key)
    if found is None:
        return []
    number = int(found[1], 16)
    base = f"http://127.0.0.1:{provider_port}" + (f"/t/{number}/fhir" if number > SPLIT else "/fhir")
    batch = {"Batch": "split"} if number == SPLIT else {}
    return [{"PartitionKey": key, "RowKey": "stu3", "BaseUrl": base, "MaxConcurrent": "1000", **batch}]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stand_ins")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--provider", type=int)
    parser.add_argument("--clients", type=json.loads, default=[])
    options = parser.parse_args()
    app = create_app(options.provider, options.clients)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, backlog=4096)


if __name__ == "__main__":
    main()
