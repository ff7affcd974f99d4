"""The HTTP side of the Functions host: what a request means to a function, and what of an answer can be sent."""

import os
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from aiohttp import hdrs, web
from azure.functions import HttpRequest
from multidict import CIMultiDict

from local.functions_host.functions import Function
from local.functions_host.target import decode_path, encode_path, query_params

MAX_URL = 4096
MAX_BODY = 104_857_600  # lowered by FUNCTIONS_REQUEST_BODY_SIZE_LIMIT

_HOST = re.compile(r"[A-Za-z0-9\-._~!$&'()*+;=%\[\]]+(?::[0-9]*)?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


F = TypeVar("F", bound=Function)


class ResponseError(Exception):
    """A function returned what the host can't send."""


def create_app(functions: Sequence[F], invoke: Callable[[F, HttpRequest], Awaitable[web.Response]]) -> web.Application:
    """An application that serves the functions, tried in their order; what none takes is a 404 without a body.

    `invoke` has a function answer a request; whatever it raises is a 500 without a body.
    """

    max_body = int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", MAX_BODY))

    async def handle(request: web.Request) -> web.Response:
        target = request.raw_path
        if len(target) > MAX_URL:
            return web.Response(status=414)
        raw_path, mark, query = target.partition("?")
        try:
            path = decode_path(raw_path)
            headers = _request_headers(request)
        except ValueError:
            return web.Response(status=400)
        host = headers.get("host", "")
        if not raw_path.startswith("/") or not _HOST.fullmatch(host):
            return web.Response(status=400)
        found = _find(functions, request.method, path)
        if found is None:
            return web.Response(status=404)
        # The host hands on a body only if its length was announced: one sent in chunks arrives empty.
        length = request.content_length or 0
        if length > max_body:
            return web.Response(status=500)  # azure-functions-host#10519
        function, route_params = found
        forwarded = HttpRequest(
            method=request.method,
            url=f"http://{host}{encode_path(path)}{mark}{query.replace('#', '%23')}",
            headers=headers,
            params=query_params(query) if query else {},
            route_params=route_params,
            body=await request.read() if length else b"",
        )
        try:
            return await invoke(function, forwarded)
        except Exception:
            print(f"{function.name} failed:", file=sys.stderr)
            traceback.print_exc()
            return web.Response(status=500)

    app = web.Application(client_max_size=max_body)
    app.router.add_route("*", r"/{path:[\s\S]*}", handle)  # a line break is a character of a path as any
    app.on_response_prepare.append(_drop_empty_content_type)
    return app


def create_runner(app: web.Application) -> web.AppRunner:
    """The application with the server's settings: a body stays as it was sent, and a stop waits 5 s for requests."""
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        max_line_size=65_536,
        max_field_size=32_768,
        lingering_time=5,
        # aiohttp waits for a handler twice this long.
        shutdown_timeout=2.5,
    )


def checked_response(method: str, status: int, headers: CIMultiDict[str], body: bytes) -> web.Response:
    """The answer to a request of this method, checked as Kestrel checks it before it sends. Raises ResponseError."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ResponseError(f"the header {name!r} has a character that can't be sent")
    if hdrs.TRANSFER_ENCODING in headers:
        raise ResponseError("Transfer-Encoding is the host's to set")
    # An answer to HEAD, and a 304, announce the length of a body that is not there.
    announced = headers.get(hdrs.CONTENT_LENGTH)
    if announced is not None and announced != str(len(body)) and method != hdrs.METH_HEAD and status != 304:
        raise ResponseError(f"Content-Length is {announced}, the body has {len(body)} bytes")
    return web.Response(status=status, headers=headers, body=body)


async def _drop_empty_content_type(request: web.Request, response: web.StreamResponse) -> None:
    """ASP.NET Core takes an empty Content-Type for none (DefaultHttpResponse.ContentType)."""
    if response.headers.get(hdrs.CONTENT_TYPE) == "":
        del response.headers[hdrs.CONTENT_TYPE]


def _find(functions: Iterable[F], method: str, path: str) -> tuple[F, dict[str, str]] | None:
    # The host keeps /admin for itself, whatever a catch-all says.
    if path.lower().startswith("/admin") and path[6:7] in ("", "/"):
        return None
    for function in functions:
        if method not in function.methods:
            continue
        route_params = function.route.match(path)
        if route_params is not None:
            return function, route_params
    return None


def _request_headers(request: web.Request) -> dict[str, str]:
    """Names in lower case, repeats joined; raises ValueError for bytes that are not UTF-8."""
    headers: dict[str, str] = {}
    for spelling, value in request.headers.items():
        if not value.isascii():
            value.encode()
        name = spelling.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers
