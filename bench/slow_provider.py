"""A FHIR server that takes its time: at /500/fhir every response takes 500 ms.

`python -m bench.slow_provider --port 8080`
"""

import argparse
import asyncio

from aiohttp import web

from bench import recorded


def create_app() -> web.Application:
    """A Patient of 2 KB for every GET below /{milliseconds}/fhir."""
    body = recorded.patient("http://127.0.0.1/fhir")

    async def respond(request: web.Request) -> web.Response:
        await asyncio.sleep(int(request.match_info["milliseconds"]) / 1000)
        return web.Response(body=body, content_type="application/fhir+json")

    app = web.Application()
    app.router.add_get(r"/{milliseconds:\d+}/fhir/{path:.*}", respond)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.slow_provider")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    web.run_app(create_app(), host="127.0.0.1", port=options.port, print=None, access_log=None, backlog=4096)


if __name__ == "__main__":
    main()
